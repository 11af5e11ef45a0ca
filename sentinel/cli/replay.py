"""`sentinel replay`: send a recorded file again."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentinel.demo.recording import BadRow, Recording
    from sentinel.demo.replay import Sent, Survey
    from sentinel.demo.resume import ReplayState
    from sentinel.demo.sink import Sink

NAME = "replay"
HELP = "send a CSV, JSONL or NDJSON file of recorded calls"
DESCRIPTION = """\
Send every row of FILE as an event.

FILE is JSONL or NDJSON (one event of the wire a line, by the suffix .jsonl, .ndjson or .json) or CSV with a header.
CSV columns are found by their usual names (timestamp, service, model, prompt_tokens, completion_tokens, latency_ms,
cost_usd, error, prompt, response, ...); --column FIELD=NAME names others; what is left becomes metadata. The Azure LLM
traces (TIMESTAMP,ContextTokens,GeneratedTokens) and the labelled evaluation streams (t_s,...) are recognised.

Times are shifted so that the last row happens now (with --speed N: when it is sent), unless --keep-time is given. Ids
are uuid5 of the file's digest and the row number (a JSON event keeps its own), so that a row sent twice with the same
time is stored once; --resume continues an interrupted replay with the same times.

Latency and cost, which the Azure traces lack, come from a model (also with --call-model for other files):
  latency_ms = a + b * prompt + c * completion, times lognormal(0, 0.15) drawn from the file's digest
  cost_usd   = list price of prompt and completion tokens
  conv: chat-api/llama2-70b        a 120, b 0.25, c 30, 0.7 and 0.9 USD per million tokens
  code: code-assist/codellama-34b  a  80, b 0.12, c 18, 0.5 and 1.5 USD per million tokens
An Azure trace is taken for code if its name contains "code".
"""
SHOWN_BAD_ROWS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from sentinel.demo.call_model import TRACE_MODELS
    from sentinel.demo.pace import speed

    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--speed", type=speed, default=None, metavar="N|max", help="1 is real time (default: max)")
    parser.add_argument("--keep-time", action="store_true", help="send the recorded times unchanged")
    parser.add_argument("--service", help="service name for all rows")
    parser.add_argument("--model", help="model name for all rows")
    parser.add_argument("--call-model", choices=sorted(TRACE_MODELS), help="fill missing latency and cost")
    parser.add_argument(
        "--column", action="append", default=[], metavar="FIELD=NAME", help="CSV column of a field; may be repeated"
    )
    parser.add_argument("--topic", help="Kafka topic (default: SENTINEL_TOPIC)")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted replay of this file")
    parser.add_argument("--verify", action="store_true", help="wait until every row is stored, once, or fail")
    parser.add_argument("--verify-seconds", type=float, default=60, metavar="S", help="give up without news after this")
    parser.add_argument("--dry-run", action="store_true", help="read and judge every row, send nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


@dataclass(frozen=True, slots=True)
class Summary:
    """What `replay` prints; `checksum` is the sum of the upper halves of the distinct ids modulo 2^64, in hex."""

    file: str
    sha256: str
    sent: int
    distinct: int
    rejected: int
    checksum: str
    first_timestamp: str
    last_timestamp: str
    shift_seconds: float
    seconds: float
    stored: int | None = None
    stored_checksum: str | None = None

    @property
    def is_verified(self) -> bool:
        return self.stored == self.distinct and self.stored_checksum == self.checksum


def run(args: argparse.Namespace) -> int:
    import django

    django.setup()

    from sentinel.demo.recording import RecordingError
    from sentinel.demo.replay import survey
    from sentinel.demo.sink import SinkError

    try:
        recording = _recording(args)
        found = survey(recording)
        _report_bad_rows(found.bad_rows)
        if not found.rows:
            raise RecordingError(f"{args.file} has no row that can be sent")
        if args.keep_time and recording.is_relative():
            raise RecordingError(f"{args.file} has no dates, only seconds since its start: leave out --keep-time")
        return _replay(args, recording, found)
    except (RecordingError, SinkError, LookupError, OSError) as error:
        print(f"sentinel replay: {error}", file=sys.stderr)
        return 1


def _recording(args: argparse.Namespace) -> Recording:
    from sentinel.demo.recording import Recording, RecordingError

    columns = dict(item.partition("=")[::2] for item in args.column)
    if not all(columns.values()):
        raise RecordingError("--column takes FIELD=NAME, such as latency_ms=duration")
    return Recording(args.file, args.service, args.model, args.call_model, columns)


def _report_bad_rows(rows: Sequence[BadRow]) -> None:
    for row in rows[:SHOWN_BAD_ROWS]:
        print(f"line {row.line}: {row.field}: {row.reason}: {row.message}", file=sys.stderr)
    if len(rows) > SHOWN_BAD_ROWS:
        print(f"... and {len(rows) - SHOWN_BAD_ROWS} more rows that are not sent", file=sys.stderr)


def _replay(args: argparse.Namespace, recording: Recording, found: Survey) -> int:
    from django.conf import settings

    from sentinel.demo import resume
    from sentinel.demo.replay import shift_us

    topic = args.topic or settings.SENTINEL_TOPIC
    path = resume.state_path(found.digest, topic, args.service, args.model, args.keep_time)
    state = resume.load(path)
    if args.resume and state is None:
        raise LookupError("nothing to resume: no replay of this file with these options was interrupted")
    if state is None or not args.resume:
        shift = 0 if args.keep_time else shift_us(found, now_us=time.time_ns() // 1_000, speed=args.speed)
        state = resume.ReplayState(shift, 0)
    _warn_of_late_rows(found, state.shift_us)
    started_at = time.monotonic()
    sent = _send(args, recording, found, topic, path, state)
    summary = _summary(args.file, found, sent, state.shift_us, time.monotonic() - started_at)
    if args.verify and not args.dry_run:
        summary = _verified(summary, sent, topic, args.verify_seconds)
    _print_summary(summary, as_json=args.json, is_dry_run=args.dry_run)
    return 0 if summary.is_verified or summary.stored is None else 1


def _warn_of_late_rows(found: Survey, shift: int) -> None:
    from django.conf import settings

    oldest = time.time() - settings.SENTINEL_RETENTION_DAYS * 86_400
    if (found.first_us + shift) / 1e6 < oldest:
        print(
            f"warning: rows older than the retention of {settings.SENTINEL_RETENTION_DAYS} days are set aside as late,"
            " not stored; leave out --keep-time to shift them to now",
            file=sys.stderr,
        )


def _send(
    args: argparse.Namespace, recording: Recording, found: Survey, topic: str, path: Path, state: ReplayState
) -> Sent:
    from sentinel.demo import resume
    from sentinel.demo.progress import progress
    from sentinel.demo.replay import send
    from sentinel.demo.sink import open_sink

    sink: Sink = _Nowhere() if args.dry_run else open_sink(topic)

    def on_durable(rows: int) -> None:
        if not args.dry_run:
            resume.save(path, resume.ReplayState(state.shift_us, rows))

    try:
        with progress(f"replay {args.file.name}", total=found.rows - state.durable_rows, is_quiet=args.json) as advance:
            sent = send(
                recording,
                found,
                sink,
                shift_us=state.shift_us,
                speed=None if args.dry_run else args.speed,
                skip_rows=state.durable_rows,
                advance=advance,
                on_durable=on_durable,
            )
    except KeyboardInterrupt:
        print("interrupted; --resume goes on with the same times", file=sys.stderr)
        raise
    finally:
        sink.close()
    if not args.dry_run:
        resume.forget(path)
    return sent


class _Nowhere:
    """The sink of a dry run."""

    def send(self, key: bytes, value: bytes) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


def _summary(file: Path, found: Survey, sent: Sent, shift: int, seconds: float) -> Summary:
    import numpy as np

    from sentinel.demo.render import timestamps
    from sentinel.demo.replay import checksum

    distinct = sent.distinct
    first, last = timestamps(np.array([found.first_us + shift, found.last_us + shift]))
    return Summary(
        file=str(file),
        sha256=found.digest,
        sent=sent.count,
        distinct=len(distinct),
        rejected=len(found.bad_rows),
        checksum=f"{checksum([row.event_id for row in distinct]):016x}",
        first_timestamp=first,
        last_timestamp=last,
        shift_seconds=shift / 1e6,
        seconds=round(seconds, 3),
    )


def _verified(summary: Summary, sent: Sent, topic: str, timeout_seconds: float) -> Summary:
    from sentinel.demo.stored import project_of_topic, wait_until_stored

    stored = wait_until_stored(sent.distinct, project_id=project_of_topic(topic), timeout_seconds=timeout_seconds)
    return replace(summary, stored=stored.rows, stored_checksum=f"{stored.checksum:016x}")


def _print_summary(summary: Summary, *, as_json: bool, is_dry_run: bool) -> None:
    if as_json:
        print(json.dumps({**asdict(summary), "verified": summary.is_verified if summary.stored is not None else None}))
        return
    verb = "would send" if is_dry_run else "sent"
    rate = summary.sent / max(summary.seconds, 1e-9)
    print(f"{verb} {summary.sent:,} rows in {summary.seconds:.1f} s ({rate:,.0f}/s), {summary.rejected:,} rejected")
    print(f"times {summary.first_timestamp} to {summary.last_timestamp}, checksum {summary.checksum}")
    if summary.stored is None:
        return
    print(f"stored {summary.stored:,} of {summary.distinct:,} distinct rows, checksum {summary.stored_checksum}")
    if summary.is_verified:
        print("verified: every row is stored once")
    else:
        print("NOT verified: see `sentinel dead-letters list` and `sentinel status`", file=sys.stderr)
