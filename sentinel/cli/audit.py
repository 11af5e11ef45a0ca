"""`sentinel audit`: prove that nothing was lost or doubled."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingestion.audit import PartitionAudit

NAME = "audit"
HELP = "prove per partition that nothing was lost or doubled"
DESCRIPTION = """\
For every partition: log offsets = stored + duplicates + rejected + late + gaps + control records, batches form a chain
without hole or overlap up to the cursor, the rows they claim are there, and the cursor stands inside the log.
Exit code 1 where that does not hold.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    import django

    django.setup()

    from ingestion.audit import audit
    from ingestion.log.base import LogUnavailable
    from ingestion.log.configured import open_log

    log = open_log()
    try:
        found = audit(log)
    except LogUnavailable as error:
        print(f"sentinel audit: {error}; is it running? see `sentinel status`", file=sys.stderr)
        return 1
    finally:
        log.close()
    holds = not any(item.problems for item in found)
    if args.json:
        print(json.dumps({"holds": holds, "partitions": [item.as_dict() for item in found]}))
    else:
        _print_table(found, holds=holds)
    return 0 if holds else 1


_FIGURES = ("log_begin", "log_end", "next_offset", "lag", "stored", "duplicates", "rejected", "late", "gaps", "control")


def _print_table(found: list[PartitionAudit], *, holds: bool) -> None:
    from sentinel.cli.columns import render

    if not found:
        print("No partition has been seen yet; start with `sentinel up`, then `sentinel send`.")
        return
    header = ["partition", *(name.replace("_", " ") for name in _FIGURES)]
    rows = [[f"{item.topic}[{item.partition}]", *(getattr(item, name) for name in _FIGURES)] for item in found]
    print(render(header, rows))
    for item in found:
        for problem in item.problems:
            print(f"{item.topic}[{item.partition}]: {problem}")
    print("The audit holds." if holds else "The audit does not hold.")
