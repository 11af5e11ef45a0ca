"""`sentinel dead-letters`: what was set aside, why, and sending it again."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ingestion.models import DeadLetter
    from ingestion.replay_outcome import Outcome, Replay

NAME = "dead-letters"
HELP = "list, show or replay records that were set aside"
SHOWN_OTHERS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Records that could not become events, with the reason. Payloads are scrubbed."
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|replay")
    listing = actions.add_parser("list", help="the newest first")
    listing.add_argument("--project", help="slug of the project (default: all)")
    listing.add_argument("--reason", help="only this reason, such as missing_field")
    listing.add_argument("--all", action="store_true", help="replayed ones too")
    listing.add_argument("--limit", type=int, default=50, metavar="N", help="at most N (default: 50)")
    showing = actions.add_parser("show", help="one dead letter with its payload")
    showing.add_argument("id", type=int)
    replaying = actions.add_parser("replay", help="append to the log again, as they were kept (scrubbed)")
    replaying.add_argument("id", type=int, nargs="*")
    replaying.add_argument("--reason", help="all open ones with this reason")
    for action in (listing, showing, replaying):
        action.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    import django

    django.setup()
    return {"list": _list, "show": _show, "replay": _replay}[args.action](args)


def _as_dict(letter: DeadLetter, *, payload: bool) -> dict[str, Any]:
    found = {
        "id": letter.pk,
        "project": letter.project.slug,
        "partition": str(letter.cursor),
        "offset": letter.log_offset,
        "records": letter.records,
        "log_time": letter.log_time.isoformat(),
        "stage": letter.stage,
        "reason": letter.reason,
        "field": letter.field,
        "message": letter.message,
        "size_bytes": letter.size_bytes,
        "sha256": bytes(letter.sha256).hex(),
        "status": letter.status,
    }
    if not payload:
        return found
    from ingestion.withheld import why_not_replayed, why_withheld

    return {
        **found,
        "payload": letter.payload,
        "payload_withheld": why_withheld(letter),
        "cannot_be_replayed": why_not_replayed(letter),
    }


def _list(args: argparse.Namespace) -> int:
    from ingestion.models import DeadLetter
    from sentinel.cli.columns import render

    letters = DeadLetter.objects.select_related("project", "cursor").order_by("-pk")
    if args.project:
        letters = letters.filter(project__slug=args.project)
    if args.reason:
        letters = letters.filter(reason=args.reason)
    if not args.all:
        letters = letters.filter(status="open")
    rows = list(letters[: args.limit])
    if args.json:
        print(json.dumps({"dead_letters": [_as_dict(row, payload=False) for row in rows]}))
        return 0
    if not rows:
        print("No dead letters.")
        return 0
    header = ("id", "project", "partition", "offset", "records", "stage", "reason", "field", "status", "message")
    cells = [
        (r.pk, r.project.slug, str(r.cursor), r.log_offset, r.records, r.stage, r.reason, r.field, r.status, r.message)
        for r in rows
    ]
    print(render(header, cells))
    return 0


def _show(args: argparse.Namespace) -> int:
    from ingestion.models import DeadLetter

    letter = DeadLetter.objects.select_related("project", "cursor").filter(pk=args.id).first()
    if letter is None:
        print(
            f"sentinel dead-letters: there is no dead letter {args.id}; see `sentinel dead-letters list`",
            file=sys.stderr,
        )
        return 1
    found = _as_dict(letter, payload=True)
    if args.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            if value is not None:
                print(f"{name.replace('_', ' '):18} {value}")
    return 0


def _replay(args: argparse.Namespace) -> int:
    from ingestion.models import DeadLetter
    from ingestion.replay import replay

    ids = list(args.id)
    if args.reason:
        ids += DeadLetter.objects.filter(reason=args.reason, status="open").values_list("pk", flat=True)
    if not ids:
        print("sentinel dead-letters: name ids, or --reason with open dead letters", file=sys.stderr)
        return 2
    result = replay(ids)
    if args.json:
        print(json.dumps(_replay_as_dict(result)))
    else:
        print(result)
        for pk, outcome in list(result.others.items())[:SHOWN_OTHERS]:
            print(f"  {pk}: {_why(outcome)}")
        if len(result.others) > SHOWN_OTHERS:
            print(f"  and {len(result.others) - SHOWN_OTHERS:,} more")
    return 1 if result.has_failed else 0


def _replay_as_dict(result: Replay) -> dict[str, Any]:
    skips = [{"id": pk, "why": item.why} for pk, item in result.others.items() if item.fate == "skipped"]
    in_doubt = [
        {"id": pk, "fate": item.fate, "why": _why(item)} for pk, item in result.others.items() if item.fate != "skipped"
    ]
    return {**result.counts(), "skips": skips, "in_doubt": in_doubt}


def _why(outcome: Outcome) -> str:
    return f"{outcome.why} ({outcome.error})" if outcome.error else outcome.why
