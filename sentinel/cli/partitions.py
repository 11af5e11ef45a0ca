"""`sentinel partitions`: how far each partition is, and what a person decides about one that does not go on."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sentinel.cli.problem import Problem

if TYPE_CHECKING:
    from ingestion.models import PartitionCursor
    from ingestion.resume import Choice

NAME = "partitions"
HELP = "list partitions, resume halted ones, close lost ones"
DESCRIPTION = """\
list    state, lag and reason of each partition. Exit code 1 if one is stuck or halted.
resume  let a halted partition go on, after you have read its runbook.
close   give up a partition that the log will never have again.
A partition is named as in the list: llm.telemetry[2], or by its id where two have one name.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|resume|close")
    listing = actions.add_parser("list", help="state, lag and reason of each")
    listing.add_argument("--all", action="store_true", help="closed ones too")
    resuming = actions.add_parser("resume", help="let halted partitions go on")
    resuming.add_argument("name", nargs="*", metavar="NAME|ID", help="such as llm.telemetry[2], or 3")
    resuming.add_argument("--all", action="store_true", help="every halted partition")
    resuming.add_argument("--accept-log", action="store_true", help="the log as it is now is the truth (log_replaced)")
    resuming.add_argument(
        "--set-aside", action="store_true", help="the one record that kills its worker becomes a dead letter, unread"
    )
    closing = actions.add_parser("close", help="give up a partition that the log no longer has; what is left is a gap")
    closing.add_argument("name", nargs=1, metavar="NAME|ID")
    for action in (resuming, closing):
        action.add_argument("--yes", action="store_true", help="do not ask")
    for action in (listing, resuming, closing):
        action.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    import django

    django.setup()
    return {"list": _list, "resume": _resume, "close": _close}[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from django.db import connection

    from ingestion.survey import survey
    from sentinel.cli.partition_lines import as_dict, summary, table

    with connection.cursor() as sql:
        found = survey(sql, with_closed=args.all)
    if args.json:
        print(json.dumps({"partitions": [as_dict(item) for item in found]}))
    else:
        if found:
            print(table(found))
        print(summary(found))
    return 1 if any(item.is_alarming for item in found) else 0


# --- resume ----------------------------------------------------------------------------------------------------------


def _resume(args: argparse.Namespace) -> int:
    from ingestion.resume import Choice, ResumeRefused, refusal, resume

    if bool(args.name) == args.all:
        raise Problem("name partitions, or --all", hint="see `sentinel partitions list`")
    choice = Choice(accept_log=args.accept_log, set_aside=args.set_aside)
    chosen = _halted() if args.all else [_named(name, prefer_halted=True) for name in args.name]
    refused = {cursor.pk: why_not for cursor in chosen if (why_not := refusal(cursor, choice))}
    ready = [cursor for cursor in chosen if cursor.pk not in refused]
    resumed = []
    if ready and _agreed(args, _told(ready, choice), "Go on?"):
        for cursor in ready:
            try:
                resume(cursor, choice, by=f"{getpass.getuser()} (command line)")
                resumed.append(str(cursor))
            except ResumeRefused as error:
                refused[cursor.pk] = str(error)
    _report(args, resumed, list(refused.values()))
    return 1 if refused or (ready and not resumed) else 0


def _halted() -> list[PartitionCursor]:
    from ingestion.models import PartitionCursor

    return list(PartitionCursor.objects.exclude(halted_reason="").filter(closed_at=None).order_by("topic", "partition"))


def _told(cursors: Sequence[PartitionCursor], choice: Choice) -> str:
    from ingestion.resume import outlook

    return "\n".join(
        f"{cursor}, halted since {cursor.halted_at or cursor.progressed_at:%Y-%m-%d %H:%M:%S} UTC: {cursor.halted_reason}\n"
        f"  {outlook(cursor, choice)}"
        for cursor in cursors
    )


def _report(args: argparse.Namespace, resumed: Sequence[str], refused: Sequence[str]) -> None:
    if args.json:
        print(json.dumps({"resumed": resumed, "refused": refused}))
        return
    for name in resumed:
        print(f"{name} goes on; watch it with `sentinel partitions list`.")
    for why_not in refused:
        print(f"sentinel partitions: {why_not}", file=sys.stderr)
    if not resumed and not refused:
        print("Nothing was resumed.")


# --- close -----------------------------------------------------------------------------------------------------------


def _close(args: argparse.Namespace) -> int:
    from ingestion.close_partition import CloseRefused, check_closable, close_partition, lost_offsets
    from ingestion.log.configured import open_log

    cursor = _named(args.name[0])
    log = open_log()
    try:
        check_closable(cursor, log)
        if _agreed(args, f"{cursor} is closed for good. {_loss(lost_offsets(cursor))}", "Close it?"):
            close_partition(cursor, log)
        else:
            print("Nothing was closed.")
            return 1
    except CloseRefused as error:
        raise Problem(str(error), hint="see `sentinel partitions list --all`") from error
    finally:
        log.close()
    if args.json:
        print(json.dumps({"closed": str(cursor), "lost_offsets": lost_offsets(cursor)}))
    else:
        print(f"{cursor} is closed. {_loss(lost_offsets(cursor))}")
    return 0


def _loss(offsets: int) -> str:
    if not offsets:
        return "Nothing is lost: all that was seen of it is ingested."
    return f"{offsets:,} offsets were never ingested; a gap records them."


# --- both ------------------------------------------------------------------------------------------------------------


def _named(name: str, *, prefer_halted: bool = False) -> PartitionCursor:
    """Return the one partition of that name or id; raise `Problem` where there is none, or more than one."""
    from ingestion.models import PartitionCursor

    topic, _, partition = name.removesuffix("]").rpartition("[")
    if name.isdecimal():
        found = list(PartitionCursor.objects.filter(pk=int(name)))
    elif topic and partition.isdecimal():
        found = list(PartitionCursor.objects.filter(topic=topic, partition=int(partition), closed_at=None))
    else:
        raise Problem(f"{name} names no partition", hint="write it as in `sentinel partitions list`")
    if prefer_halted and len(found) > 1:
        found = [cursor for cursor in found if cursor.halted_reason] or found
    if not found:
        raise Problem(f"there is no open partition {name}", hint="see `sentinel partitions list --all`")
    if len(found) > 1:
        ids = ", ".join(str(cursor.pk) for cursor in found)
        raise Problem(f"{name} is the name of {len(found)} partitions", hint=f"name one by its id: {ids}")
    return found[0]


def _agreed(args: argparse.Namespace, told: str, question: str) -> bool:
    if args.yes:
        return True
    if args.json or not sys.stdin.isatty():
        raise Problem("nobody to ask", hint="read what it does in its runbook, then say --yes")
    print(told)
    return input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}
