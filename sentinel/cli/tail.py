"""`sentinel tail`: events and anomalies as they are stored."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from detection.models import Anomaly
    from ingestion.models import Event, Project

NAME = "tail"
HELP = "show events and anomalies as they are stored"
DESCRIPTION = """\
Print events and anomalies as they are stored, until Ctrl-C: time, series, latency, tokens, cost; severity and
explanation. Of many events that arrive at once the first are shown and the others counted. Times are UTC.
"""
POLL_SECONDS = 0.3
# Anomalies are few: shown at once. Events are many: shown when the transactions beside them are over.
ANOMALY_OVERLAP = timedelta(seconds=5)
EVENT_HORIZON = timedelta(seconds=1)
# Older events may still arrive, but nothing older than this is looked for: it bounds the query.
OLDEST = timedelta(days=1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--anomalies", action="store_true", help="only anomalies")
    which.add_argument("--events", action="store_true", help="only events")
    parser.add_argument("--project", metavar="SLUG", help="only of this project")
    parser.add_argument("--service", metavar="NAME", help="only of this service")
    parser.add_argument("--since", type=float, default=0, metavar="SECONDS", help="begin so long ago (default: now)")
    parser.add_argument("--max-lines", type=int, default=40, metavar="N", help="events shown at once (default: 40)")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def run(args: argparse.Namespace) -> int:
    import django

    django.setup()

    try:
        for line in _lines(args):
            print(line, flush=True)
    except KeyboardInterrupt:
        return 0
    return 0


def _lines(args: argparse.Namespace) -> Iterator[str]:
    from sentinel.cli.problem import Problem

    project = _project(args.project) if args.project else None
    if args.project and project is None:
        raise Problem(f"there is no project {args.project!r}", hint="the admin lists them")
    polls = [poll for poll in (_anomalies(args, project), _events(args, project)) if poll is not None]
    if sys.stderr.isatty() and not args.json:
        print("waiting for events; Ctrl-C ends", file=sys.stderr)
    while True:
        for poll in polls:
            yield from poll()
        time.sleep(POLL_SECONDS)


def _project(slug: str) -> Project | None:
    from ingestion.models import Project

    return Project.objects.filter(slug=slug).first()


def _filters(args: argparse.Namespace, project: Project | None) -> dict[str, Any]:
    from django.utils import timezone

    filters: dict[str, Any] = {"timestamp__gte": timezone.now() - OLDEST}
    if project is not None:
        filters["project_id"] = project.pk
    if args.service:
        filters["service"] = args.service
    return filters


def _anomalies(args: argparse.Namespace, project: Project | None) -> Callable[[], Iterator[str]] | None:
    if args.events:
        return None
    from django.utils import timezone

    from detection.models import Anomaly
    from sentinel.demo.feed import Feed
    from sentinel.demo.lines import anomaly_document, anomaly_line

    since = timezone.now() - timedelta(seconds=args.since)
    rows: QuerySet[Anomaly] = Anomaly.objects.filter(**_filters(args, project))
    feed = Feed(rows, "detected_at", since=since, overlap=ANOMALY_OVERLAP)

    def poll() -> Iterator[str]:
        for anomaly in sorted(feed.poll(), key=lambda row: row.timestamp):
            yield json.dumps({"anomaly": anomaly_document(anomaly)}) if args.json else anomaly_line(anomaly)

    return poll


def _events(args: argparse.Namespace, project: Project | None) -> Callable[[], Iterator[str]] | None:
    if args.anomalies:
        return None
    from django.utils import timezone

    from ingestion.models import Event
    from sentinel.demo.feed import Feed
    from sentinel.demo.lines import event_document, event_line

    rows: QuerySet[Event] = Event.objects.filter(**_filters(args, project)).defer(
        "prompt_text", "response_text", "metadata", "tool_calls", "retrieved_context"
    )
    since = timezone.now() - timedelta(seconds=args.since)
    feed = Feed(rows, "ingested_at", since=since, horizon=EVENT_HORIZON)

    def poll() -> Iterator[str]:
        events = sorted(feed.poll(), key=lambda row: row.timestamp)
        if args.json:
            yield from (json.dumps({"event": event_document(event)}) for event in events)
            return
        yield from (event_line(event) for event in events[: args.max_lines])
        if len(events) > args.max_lines:
            yield f"              ... and {len(events) - args.max_lines:,} more events"

    return poll
