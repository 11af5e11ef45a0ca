"""Recorded calls in a file, row by row as event bodies: CSV of several kinds, JSONL and NDJSON (pure).

Every row is judged by the server's own contract, so that what a replay sends is what the server accepts.
"""

from __future__ import annotations

import csv
import hashlib
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ingestion.limits import DEFAULT_LIMITS
from ingestion.reject import Rejected, RejectReason
from ingestion.validate import decode_event
from sentinel.demo.call_model import NOISE_SIGMA, TRACE_MODELS, TraceModel
from sentinel.demo.columns import MICROSECONDS, BadCellError, Header, timestamp_us, understand

NAMESPACE = uuid.UUID("6f1d3a52-4f0b-5c1f-9d2e-0c6a3a1b7e44")
JSON_SUFFIXES = frozenset({".jsonl", ".ndjson", ".json"})
NOISE_BLOCK = 4_096


class RecordingError(Exception):
    """The file as a whole cannot be replayed; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Row:
    """One valid row: the number of its line, its time as recorded, and the event without its final time."""

    line: int
    event_id: uuid.UUID
    timestamp_us: int
    body: dict[str, Any] = field(repr=False)

    @property
    def key(self) -> bytes:
        return f"{self.body['service_name']}\0{self.body['model']}".encode()


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is not sent: a `RejectReason`; `message` names field and reason, never content."""

    line: int
    field: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Recording:
    """A file and how to read it. `call_model` (conv, code) fills latency and cost where the file lacks them."""

    path: Path
    service: str | None = None
    model: str | None = None
    call_model: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    def sha256(self) -> str:
        """Return the digest of the file, which with the row number makes the event ids."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def is_json(self) -> bool:
        return self.path.suffix.lower() in JSON_SUFFIXES

    def is_relative(self) -> bool:
        """Whether its times count from its own start and have no date."""
        return not self.is_json() and self._header().is_relative

    def rows(self, digest: str) -> Iterator[Row | BadRow]:
        """Yield every row in order; `digest` is `sha256()`. Raises `RecordingError` before the first."""
        drafts = self._json_rows() if self.is_json() else self._csv_rows(digest)
        for number, draft in enumerate(drafts, start=1):
            yield draft if isinstance(draft, BadRow) else self._judged(draft, digest, number)

    def _judged(self, draft: Row, digest: str, number: int) -> Row | BadRow:
        body = draft.body
        if self.service is not None:
            body["service_name"] = self.service
        if self.model is not None:
            body["model"] = self.model
        default_id = uuid.uuid5(NAMESPACE, f"{digest}:{number}")
        verdict = decode_event(
            msgspec.json.encode(body),
            log_time_us=draft.timestamp_us,
            default_event_id=default_id,
            limits=DEFAULT_LIMITS,
        )
        if isinstance(verdict, Rejected):
            return BadRow(draft.line, verdict.field, verdict.reason, verdict.message)
        body["event_id"] = str(verdict.event_id)
        return replace(draft, event_id=verdict.event_id, timestamp_us=verdict.timestamp_us)

    def _json_rows(self) -> Iterator[Row | BadRow]:
        decode = msgspec.json.Decoder(dict[str, Any]).decode
        with self.path.open("rb") as lines:
            for line, text in enumerate(lines, start=1):
                if not text.strip():
                    continue
                try:
                    body = decode(text)
                    at = timestamp_us(str(body["timestamp"])) if "timestamp" in body else None
                except (msgspec.DecodeError, UnicodeDecodeError):
                    yield BadRow(line, "$", RejectReason.NOT_JSON, "the line is not a JSON object")
                except BadCellError as bad:
                    yield BadRow(line, bad.field, bad.reason, str(bad))
                else:
                    if at is None:
                        yield BadRow(line, "timestamp", RejectReason.MISSING_FIELD, "timestamp is required")
                    else:
                        del body["timestamp"]
                        yield Row(line, uuid.UUID(int=0), at, body)

    def _header(self) -> Header:
        with self.path.open(newline="", encoding="utf-8-sig") as lines:
            try:
                first = next(csv.reader(lines), None)
            except (UnicodeDecodeError, csv.Error) as error:
                raise RecordingError(f"{self.path} is not CSV text: {error}") from None
        if not first:
            raise RecordingError(f"{self.path} is empty")
        try:
            return understand(first, self.columns)
        except ValueError as error:
            raise RecordingError(f"{self.path}: {error}") from None

    def _trace_model(self, header: Header) -> TraceModel | None:
        """Return what stands in for missing columns: asked for, or by the file's name for an Azure trace."""
        if self.call_model is not None:
            return TRACE_MODELS[self.call_model]
        if header.is_azure_trace:
            return TRACE_MODELS["code" if "code" in self.path.stem.lower() else "conv"]
        return None

    def _csv_rows(self, digest: str) -> Iterator[Row | BadRow]:
        header = self._header()
        trace_model = self._trace_model(header)
        noise = _noise(digest)
        with self.path.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.reader(lines)
            next(reader)
            for cells in reader:
                if not cells:
                    continue
                factor = next(noise)
                try:
                    yield _csv_row(reader.line_num, cells, header, trace_model, factor)
                except BadCellError as bad:
                    yield BadRow(reader.line_num, bad.field, bad.reason, str(bad))


def _csv_row(line: int, cells: list[str], header: Header, trace_model: TraceModel | None, noise: float) -> Row:
    if len(cells) <= max([header.time, *(place for place, _ in header.fields)]):
        raise BadCellError("$", RejectReason.MISSING_FIELD, f"has only {len(cells)} columns")
    body: dict[str, Any] = {"prompt": {}, "response": {}}
    for place, column in header.fields:
        cell = cells[place]
        if cell.strip() == "" and column.path != "prompt.text" and column.path != "response.text":
            continue
        parent, _, name = column.path.rpartition(".")
        (body[parent] if parent else body)[name] = column.read(column.path, cell)
    extra = {name: cells[place] for place, name in header.metadata if place < len(cells) and cells[place]}
    if extra:
        body["metadata"] = extra
    if "prompt.text" not in header.paths:
        body["content_mode"] = "none"
    elif "response.text" not in header.paths:
        body["response"]["text"] = ""
    _fill(body, trace_model, noise)
    if header.is_relative:
        seconds = cells[header.time]
        at = round(_relative(seconds) * MICROSECONDS)
    else:
        at = timestamp_us(cells[header.time])
    return Row(line, uuid.UUID(int=0), at, body)


def _relative(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise BadCellError("timestamp", RejectReason.BAD_TIMESTAMP, "is not a number of seconds") from None


def _fill(body: dict[str, Any], trace_model: TraceModel | None, noise: float) -> None:
    """Set what the file lacks: names, latency and cost by the documented model."""
    if trace_model is None:
        return
    body.setdefault("service_name", trace_model.service)
    body.setdefault("model", trace_model.model)
    prompt, completion = body["prompt"].get("tokens"), body["response"].get("tokens")
    if prompt is None or completion is None:
        return
    tokens = np.array([prompt], dtype=float), np.array([completion], dtype=float)
    if "latency_ms" not in body:
        body["latency_ms"] = round(float(trace_model.calls.latency_ms(*tokens)[0]) * noise, 3)
    if "cost_usd" not in body:
        body["cost_usd"] = round(float(trace_model.calls.cost_usd(*tokens)[0]), 9)
        body["cost_source"] = "price_book"


def _noise(digest: str) -> Iterator[float]:
    """Yield one lognormal factor per row, the same for the same file."""
    rng = np.random.default_rng(int(digest[:16], 16))
    while True:
        yield from rng.lognormal(0, NOISE_SIGMA, NOISE_BLOCK).tolist()
