"""The slow path of decoding: read what the strict decoder refused, or say which field is at fault and why.

Runs only for events with fields we do not know, with nulls in place of defaults, or with a fault; about three times
the cost of the fast path for the first two.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from ingestion.event import Event, PromptInfo, ResponseInfo, RetrievedDocument, ToolCall
from ingestion.flatten import is_deeper
from ingestion.reject import WHOLE_EVENT, RefusedError, RejectReason

NUL_ESCAPE = b"\\u0000"
_SURROGATE = re.compile("[\ud800-\udfff]")

_Shape = Mapping[str, Any]


def _fields(struct: type[msgspec.Struct], **nested: _Shape) -> _Shape:
    return {field.encode_name: nested.get(field.encode_name, {}) for field in msgspec.structs.fields(struct)}


SHAPE: _Shape = _fields(
    Event,
    prompt=_fields(PromptInfo),
    response=_fields(ResponseInfo),
    tool_calls=_fields(ToolCall),
    retrieved_context=_fields(RetrievedDocument),
)
"""The names that are ours, as a tree; lists are looked through."""

_NESTED = frozenset(name for name, shape in SHAPE.items() if shape)


def decode_slowly(payload: bytes, *, max_nesting: int) -> tuple[Event, int]:
    """Return the event and how many unknown fields were dropped from it; raise `RefusedError` with the first fault."""
    document = _parse(payload)
    if not isinstance(document, dict):
        raise RefusedError(RejectReason.WRONG_TYPE, WHOLE_EVENT, "must be a JSON object")
    # A bracket in a text counts too, which only costs the exact check.
    brackets = payload.count(b"[") + payload.count(b"{")
    if brackets > max_nesting and is_deeper(document, max_nesting):
        why = f"is nested deeper than {max_nesting} levels"
        raise RefusedError(RejectReason.TOO_DEEP, WHOLE_EVENT, why)
    if NUL_ESCAPE in payload and (path := _first_path(document, _has_nul)):
        why = "holds a NUL character (\\u0000)"
        raise RefusedError(RejectReason.NUL_CHARACTER, path, why)
    unknown = _prune(document, SHAPE)
    try:
        return msgspec.convert(document, Event), unknown
    except msgspec.ValidationError as error:
        raise explained(str(error)) from None


def _parse(payload: bytes) -> Any:
    try:
        return msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _unparsable(payload) from None


def _prune(document: Any, shape: _Shape) -> int:
    """Drop names that are not ours and nulls, which mean the default; return how many names were unknown."""
    if isinstance(document, list):
        return sum(_prune(item, shape) for item in document)
    if not isinstance(document, dict):
        return 0
    unknown = document.keys() - shape.keys()
    nulls = [name for name, value in document.items() if value is None]
    for name in unknown.union(nulls):
        del document[name]
    nested = document.keys() & _NESTED
    return len(unknown) + sum(_prune(document[name], shape[name]) for name in nested)


def _unparsable(payload: bytes) -> RefusedError:
    """Find what a lenient parser accepts and JSON, UTF-8 or Postgres does not."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return RefusedError(RejectReason.NOT_UTF8, WHOLE_EVENT, "is not valid UTF-8")
    try:
        document = json.loads(text, parse_int=_int_or_infinity)
    except RecursionError:
        return RefusedError(RejectReason.TOO_DEEP, WHOLE_EVENT, "is nested too deeply")
    except ValueError:
        return RefusedError(RejectReason.NOT_JSON, WHOLE_EVENT, "is not valid JSON")
    # UTF-8 has no surrogates; only an escape makes one.
    if "\\u" in text and (path := _first_path(document, _has_surrogate)):
        return RefusedError(RejectReason.LONE_SURROGATE, path, "holds half of a surrogate pair")
    if path := _first_path(document, _not_finite):
        return RefusedError(RejectReason.NOT_FINITE, path, "is not a finite number")
    return RefusedError(RejectReason.NOT_JSON, WHOLE_EVENT, "is not valid JSON")


def _int_or_infinity(digits: str) -> int | float:
    return int(digits) if len(digits) <= 308 else math.inf


def _not_finite(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _has_nul(value: object) -> bool:
    return isinstance(value, str) and "\0" in value


def _has_surrogate(value: object) -> bool:
    return isinstance(value, str) and not value.isascii() and _SURROGATE.search(value) is not None


def _first_path(document: Any, is_faulty: Callable[[object], bool]) -> str | None:
    """Return the path of the first faulty value or name, with the sender's own names hidden."""
    return next((path for path, value in _walk(document, WHOLE_EVENT, SHAPE) if is_faulty(value)), None)


def _walk(value: Any, path: str, shape: _Shape) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield f"{path}[...]", name
            yield from _walk(item, _join(path, name, shape), shape.get(name, {}))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(item, f"{path}[{index}]", shape)
    else:
        yield path, value


def _join(path: str, name: str, shape: _Shape) -> str:
    if name not in shape:
        return f"{path}[...]"
    return name if path == WHOLE_EVENT else f"{path}.{name}"


# msgspec's messages quote the sender's value in one case (enums), so each is recognised and worded anew.
_MESSAGE = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>\w+)`")
_TYPES = re.compile(r"Expected `(?P<expected>[^`]+)`, got `(?P<got>\w+)`")
_RANGE = re.compile(r"Expected `(?:int|float)[^`]*` (?P<bound>[<>]=? \S+)")
_LENGTH = re.compile(r"Expected `(?P<kind>\w+)[^`]*` of length (?P<bound>[<>]=) (?P<size>\d+)")


def explained(message: str, *, subject: str = "the event") -> RefusedError:
    """Return the refusal that a message of msgspec's `ValidationError` stands for."""
    match = _MESSAGE.fullmatch(message)
    what, path = (match["what"], match["path"] or "") if match else (message, "")
    if missing := _MISSING.fullmatch(what):
        field = f"{path}.{missing['name']}".lstrip(".")
        return RefusedError(RejectReason.MISSING_FIELD, field, "is required")
    reason, why = _explained_value(what)
    return RefusedError(reason, path or WHOLE_EVENT, why, subject=subject)


def _explained_value(what: str) -> tuple[RejectReason, str]:
    if types := _TYPES.fullmatch(what):
        expected = types["expected"].replace(" | ", " or ")
        return RejectReason.WRONG_TYPE, f"must be {expected}, not {types['got']}"
    if bounds := _RANGE.fullmatch(what):
        return RejectReason.OUT_OF_RANGE, f"must be {bounds['bound']}"
    if length := _LENGTH.fullmatch(what):
        return _explained_length(length["kind"], length["bound"], length["size"])
    for words, reason, why in _FORMATS:
        if words in what:
            return reason, why
    return RejectReason.BAD_FORMAT, "is not in the documented form"


def _explained_length(kind: str, bound: str, size: str) -> tuple[RejectReason, str]:
    if bound == ">=":
        return RejectReason.EMPTY_FIELD, "must not be empty"
    if kind == "str":
        return RejectReason.TOO_LONG, f"is longer than {size} characters"
    return RejectReason.TOO_MANY_ITEMS, f"has more than {size} items"


_FORMATS = (
    ("Invalid UUID", RejectReason.BAD_UUID, "is not a UUID"),
    ("Invalid RFC3339", RejectReason.BAD_TIMESTAMP, "is not an ISO 8601 time of the years 1 to 9999"),
    ("Invalid enum value", RejectReason.UNKNOWN_VALUE, "is not one of the documented values"),
    ("Integer value out of range", RejectReason.OUT_OF_RANGE, "is out of range"),
    ("out of range", RejectReason.NOT_FINITE, "is not a finite number"),
)
