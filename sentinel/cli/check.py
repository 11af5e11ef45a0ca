"""`sentinel check`: whether everything is as it must be, and what to do where it is not."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sentinel.diagnosis import Finding

NAME = "check"
HELP = "check configuration and services, and say how to mend what is wrong"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Look at configuration, services, clock and disk. Exit code 1 if there is a problem."
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    import logging

    import django

    django.setup()
    # What a client library says about a server that is away stands in the findings.
    logging.disable(logging.ERROR)

    from sentinel.diagnosis import Level, diagnose

    findings = list(diagnose())
    problems = sum(finding.level is Level.PROBLEM for finding in findings)
    if args.json:
        print(json.dumps({"problems": problems, "findings": [asdict(finding) for finding in findings]}))
    else:
        _print(findings, problems=problems)
    return 1 if problems else 0


def _print(findings: Sequence[Finding], *, problems: int) -> None:
    for finding in findings:
        print(f"{finding.level:<9}{finding.name}: {finding.detail}")
        if finding.fix:
            print(f"{'':<9}→ {finding.fix}")
    print("No problems." if not problems else f"{problems} problem{'s' if problems > 1 else ''}.")
