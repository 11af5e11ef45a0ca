"""`sentinel send`: hand over one event."""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ingestion.validate import Accepted

NAME = "send"
HELP = "send one event and print its id"
DESCRIPTION = """\
Send one event, given by flags or as JSON (--file FILE, - for standard input), and print its id. The event is checked
by the contract first; an event without an id or a timestamp gets one. With --wait the command ends when the event is
stored, and says where.
"""


class SendError(Exception):
    """The event cannot be sent as given, or did not arrive; the message says what to change."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.add_argument("--file", metavar="FILE", help="an event of the wire as JSON; - is standard input")
    parser.add_argument("--service", help="default: cli")
    parser.add_argument("--model", help="default: test-model")
    parser.add_argument("--prompt", metavar="TEXT")
    parser.add_argument("--response", metavar="TEXT")
    parser.add_argument("--prompt-tokens", type=int, metavar="N")
    parser.add_argument("--completion-tokens", type=int, metavar="N")
    parser.add_argument("--latency-ms", type=float, metavar="MS")
    parser.add_argument("--cost-usd", type=float, metavar="USD")
    parser.add_argument("--error", action="append", metavar="TEXT", help="may be repeated")
    parser.add_argument("--metadata", action="append", metavar="KEY=VALUE", help="may be repeated")
    parser.add_argument("--event-id", type=uuid.UUID, metavar="UUID")
    parser.add_argument("--timestamp", metavar="ISO8601", help="default: now")
    parser.add_argument("--trace-id", metavar="ID")
    parser.add_argument("--topic", help="Kafka topic (default: SENTINEL_TOPIC)")
    parser.add_argument("--wait", action="store_true", help="until it is stored")
    parser.add_argument("--wait-seconds", type=float, default=30, metavar="S", help="at most (default: 30)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    import django

    django.setup()

    from django.conf import settings

    from sentinel.demo.sink import SinkError

    topic = args.topic or settings.SENTINEL_TOPIC
    try:
        event = _accepted(_body(args))
        started_at = time.monotonic()
        _send(event, topic)
        answer: dict[str, Any] = {"event_id": str(event.event_id), "topic": topic}
        if args.wait:
            answer["stored"] = _wait(event, topic, started_at, timeout_seconds=args.wait_seconds)
    except (SendError, SinkError, LookupError, OSError) as error:
        print(f"sentinel send: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(answer))
    else:
        print(answer["event_id"])
        if args.wait:
            print("stored: " + ", ".join(f"{name} {value}" for name, value in answer["stored"].items()))
    return 0


def _body(args: argparse.Namespace) -> dict[str, Any]:
    """Return the event's JSON object: that of the file, with the given flags on top, else made of the flags."""
    body = _read(args.file) if args.file else _template()
    given: Mapping[str, Any] = {
        "service_name": args.service,
        "model": args.model,
        "latency_ms": args.latency_ms,
        "cost_usd": args.cost_usd,
        "errors": args.error,
        "metadata": _metadata(args.metadata) if args.metadata else None,
        "event_id": None if args.event_id is None else str(args.event_id),
        "timestamp": args.timestamp,
        "trace_id": args.trace_id,
    }
    body.update({name: value for name, value in given.items() if value is not None})
    _set(body, "prompt", text=args.prompt, tokens=args.prompt_tokens)
    _set(body, "response", text=args.response, tokens=args.completion_tokens)
    body.setdefault("event_id", str(uuid.uuid4()))
    return body


def _template() -> dict[str, Any]:
    return {
        "service_name": "cli",
        "model": "test-model",
        "prompt": {"text": "Hello"},
        "response": {"text": "Hi"},
        "latency_ms": 100.0,
    }


def _set(body: dict[str, Any], part: str, **values: object) -> None:
    given = {name: value for name, value in values.items() if value is not None}
    if given:
        body[part] = {**(body.get(part) or {}), **given}


def _read(file: str) -> dict[str, Any]:
    text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    try:
        body = json.loads(text)
    except ValueError:
        raise SendError(f"{file} is not JSON") from None
    if not isinstance(body, dict):
        raise SendError(f"{file} holds no JSON object; `sentinel replay` sends several events")
    return body


def _metadata(items: list[str]) -> dict[str, str]:
    pairs = [item.partition("=") for item in items]
    if not all(separator for _, separator, _ in pairs):
        raise SendError("--metadata takes KEY=VALUE")
    return {key: value for key, _, value in pairs}


def _accepted(body: dict[str, Any]) -> Accepted:
    """Return the event as the server will see it; raise `SendError` with field and reason where it would reject it."""
    from ingestion.limits import DEFAULT_LIMITS
    from ingestion.validate import Rejected, decode_event

    payload = json.dumps(body).encode()
    now_us = time.time_ns() // 1_000
    verdict = decode_event(payload, log_time_us=now_us, default_event_id=None, limits=DEFAULT_LIMITS)
    if isinstance(verdict, Rejected):
        raise SendError(f"the event is not valid: {verdict.reason}: {verdict.message}")
    return verdict


def _send(accepted: Accepted, topic: str) -> None:
    from ingestion.event import encode_event
    from sentinel.demo.sink import open_sink

    event = accepted.event
    sink = open_sink(topic)
    try:
        sink.send(f"{event.service_name}\0{event.model}".encode(), encode_event(event))
        sink.flush()
    finally:
        sink.close()


def _wait(event: Accepted, topic: str, started_at: float, *, timeout_seconds: float) -> dict[str, object]:
    """Return where the event is stored; raise `SendError` where it is not within the time."""
    from ingestion.models import Event, PartitionCursor
    from sentinel.demo.stored import project_of_topic

    project_id = project_of_topic(topic)
    rows = Event.objects.filter(event_id=event.event_id, project_id=project_id).order_by("-ingested_at")
    while time.monotonic() - started_at < timeout_seconds:
        found = rows.first()
        if found is not None:
            return {
                "cursor": str(PartitionCursor.objects.get(pk=found.cursor_id)),
                "offset": found.log_offset,
                "ingested_at": found.ingested_at.isoformat(),
                "seconds": round(time.monotonic() - started_at, 3),
            }
        time.sleep(0.02)
    raise SendError(f"{event.event_id} was sent but is not stored after {timeout_seconds:g} s: see `sentinel status`")
