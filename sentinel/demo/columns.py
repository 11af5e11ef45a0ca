"""Which column of a CSV file is which field of an event (pure)."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ingestion.reject import RejectReason

MICROSECONDS = 1_000_000
# A bare number above this is milliseconds since 1970, below it seconds (this many seconds are the year 5138).
LARGEST_EPOCH_SECONDS = 1e11
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)

YES = frozenset({"1", "true", "yes"})
NO = frozenset({"", "0", "false", "no", "none", "null", "nan"})


class BadCellError(ValueError):
    """A cell that is not what its column should hold."""

    def __init__(self, field: str, reason: RejectReason, why: str) -> None:
        super().__init__(f"{field} {why}")
        self.field = field
        self.reason = reason


def timestamp_us(text: str) -> int:
    """Return microseconds since 1970 of an ISO 8601 time (UTC without an offset) or of epoch seconds or milliseconds."""
    text = text.strip()
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        return _epoch_us(number)
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        why = "is neither an ISO 8601 time nor epoch seconds"
        raise BadCellError("timestamp", RejectReason.BAD_TIMESTAMP, why) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return (moment - _EPOCH) // _MICROSECOND


def _epoch_us(number: float) -> int:
    if not math.isfinite(number):
        raise BadCellError("timestamp", RejectReason.NOT_FINITE, "is not a finite number")
    return round(number * (1_000 if abs(number) > LARGEST_EPOCH_SECONDS else MICROSECONDS))


def _whole(field: str, text: str) -> int:
    try:
        number = float(text)
    except ValueError:
        raise BadCellError(field, RejectReason.WRONG_TYPE, "is not a number") from None
    if not math.isfinite(number):
        raise BadCellError(field, RejectReason.NOT_FINITE, "is not a finite number")
    if number != int(number):
        raise BadCellError(field, RejectReason.WRONG_TYPE, "is not a whole number")
    return int(number)


def _number(field: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise BadCellError(field, RejectReason.WRONG_TYPE, "is not a number") from None
    if not math.isfinite(number):
        raise BadCellError(field, RejectReason.NOT_FINITE, "is not a finite number")
    return number


def _text(_field: str, text: str) -> str:
    return text


def _errors(_field: str, text: str) -> list[str]:
    """Return no error for an empty or false cell, one without a name for a true one, else the cell."""
    if text.strip().lower() in NO:
        return []
    return ["error"] if text.strip().lower() in YES else [text]


@dataclass(frozen=True, slots=True)
class Column:
    """A field of the event: its path, the names that a header may give it (lower case), how a cell is read."""

    path: str
    names: tuple[str, ...]
    read: Callable[[str, str], Any]


TIMESTAMP_NAMES = ("timestamp", "time", "ts", "datetime", "date", "created_at", "timestamp_ms", "start_time")
# Seconds since the start of the file, as the labelled evaluation streams have it: a time without a date.
RELATIVE_NAMES = ("t_s",)

COLUMNS: tuple[Column, ...] = (
    Column("event_id", ("event_id", "id", "request_id", "uuid"), _text),
    Column("service_name", ("service_name", "service", "application", "app"), _text),
    Column("model", ("model", "model_name", "requested_model"), _text),
    Column("provider", ("provider",), _text),
    Column("environment", ("environment", "env"), _text),
    Column("trace_id", ("trace_id",), _text),
    Column("span_id", ("span_id",), _text),
    Column("session_id", ("session_id",), _text),
    Column("user_id", ("user_id", "user"), _text),
    Column("prompt.text", ("prompt", "prompt_text", "input", "input_text"), _text),
    Column(
        "prompt.tokens",
        ("prompt_tokens", "contexttokens", "context_tokens", "input_tokens", "tokens_in"),
        _whole,
    ),
    Column("response.text", ("response", "response_text", "completion", "output", "output_text"), _text),
    Column(
        "response.tokens",
        ("completion_tokens", "generatedtokens", "generated_tokens", "output_tokens", "response_tokens", "tokens_out"),
        _whole,
    ),
    Column("response.finish_reason", ("finish_reason", "stop_reason"), _text),
    Column("latency_ms", ("latency_ms", "latency", "duration_ms", "elapsed_ms"), _number),
    Column("ttft_ms", ("ttft_ms", "ttft", "time_to_first_token_ms"), _number),
    Column("cost_usd", ("cost_usd", "cost", "price_usd"), _number),
    Column("errors", ("errors", "error", "error_message"), _errors),
)
PATHS: Mapping[str, Column] = MappingProxyType({column.path: column for column in COLUMNS})
AZURE_TRACE = frozenset({"timestamp", "contexttokens", "generatedtokens"})


@dataclass(frozen=True, slots=True)
class Header:
    """A CSV header understood: position of the time, of each field, and of the columns that become metadata."""

    time: int
    is_relative: bool
    fields: tuple[tuple[int, Column], ...]
    metadata: tuple[tuple[int, str], ...]
    is_azure_trace: bool

    @property
    def paths(self) -> frozenset[str]:
        return frozenset(column.path for _, column in self.fields)


def understand(header: Sequence[str], overrides: Mapping[str, str]) -> Header:
    """Map a header; `overrides` gives the column of a field path (or of "timestamp") by its exact name.

    Raises `ValueError` where an override names no column or field, or no column holds the time.
    """
    places = {name.strip(): place for place, name in enumerate(header)}
    lower = {name.lower(): place for name, place in places.items()}
    for path, name in overrides.items():
        if path != "timestamp" and path not in PATHS:
            raise ValueError(f"{path!r} is no field; fields are timestamp, {', '.join(PATHS)}")
        if name not in places:
            raise ValueError(f"the file has no column {name!r}; its columns are {', '.join(places)}")
    taken = {path: places[name] for path, name in overrides.items()}
    for column in COLUMNS:
        taken.setdefault(column.path, _first(lower, column.names))
    time = taken.pop("timestamp", _first(lower, TIMESTAMP_NAMES))
    relative = _first(lower, RELATIVE_NAMES) if time < 0 else -1
    if max(time, relative) < 0:
        raise ValueError(f"no column holds the time; name it with --column timestamp=NAME ({', '.join(places)})")
    used = {place for place in taken.values() if place >= 0} | {max(time, relative)}
    return Header(
        time=max(time, relative),
        is_relative=time < 0,
        fields=tuple((place, PATHS[path]) for path, place in taken.items() if place >= 0),
        metadata=tuple((place, name) for name, place in places.items() if place not in used and name),
        is_azure_trace=set(lower) == AZURE_TRACE,
    )


def _first(lower: Mapping[str, int], names: Sequence[str]) -> int:
    return next((lower[name] for name in names if name in lower), -1)
