"""What a load mixes in: ways in which a record can be no event, to be too late, and what few events carry."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tests.faults.setting import POISON_MARK

Change = Callable[[bytes], bytes | None]


def _inserted(after: bytes, text: bytes) -> Change:
    return lambda value: value.replace(after, after + text, 1)


def _renamed(old: bytes, new: bytes) -> Change:
    return lambda value: value.replace(old, new, 1)


# What becomes of the JSON of a valid event.
INVALID: Mapping[str, Change] = {
    "cut short": lambda value: value[: len(value) // 2],
    "no UTF-8": lambda value: b"\xff\xfe" + value,
    "no value": lambda _: None,
    "no object": lambda _: b"[]",
    "no service": _renamed(b'"service_name"', b'"service"'),
    "latency is a text": _inserted(b'"latency_ms":', b'"slow","latency":'),
    "negative latency": _inserted(b'"latency_ms":', b"-1,"[:-1] + b"0"),
    "not a number": _inserted(b'"cost_usd":', b'NaN,"cost":'),
    "huge number": _inserted(b'"tokens":', b"9" * 40),
    "NUL": _inserted(b'"model":"', rb"\u0000"),
    "lone surrogate": _inserted(b'"model":"', rb"\ud800"),
    "nested too deep": _inserted(b'"metadata":{', b'"deep":' + b"[" * 30 + b"]" * 30 + b","),
    "no time": _inserted(b'"timestamp":"', b"yesterday, "),
    "no id": _renamed(b'"event_id":"', b'"event_id":"no-'),
}


def late(value: bytes) -> bytes:
    """Return an event that is years too old to be stored."""
    return re.sub(rb'"timestamp":"\d{4}', b'"timestamp":"2019', value, count=1)


def poisoned(value: bytes, *, action: str = "") -> bytes:
    """Return a valid event with the mark of poison, to which `tests.faults.poison` does this or what it does to all."""
    mark = POISON_MARK + (f"={action}".encode() if action else b"")
    return value.replace(b'"metadata":{', b'"metadata":{"mark":"' + mark + b'",', 1)


def detailed(value: bytes, number: int) -> bytes:
    """Return the event with what only few have, different for every `number`: personal data, documents, an embedding."""
    more = (
        f'"tool_calls":[{{"id":"call-{number}","name":"search","arguments":{{"page":{number}}}}}],'
        f'"retrieved_context":[{{"id":"document-{number}","text":"part {number}","score":{number}e-07}}],'
        f'"features":{{"part":{number}.25}},"metadata":{{"reply_to":"user-{number}@example.org",'
    )
    value = value.replace(b'"metadata":{', more.encode(), 1)
    return value.replace(b'"prompt":{', b'"prompt":{"embedding":[%d.5,1e-05],' % number, 1)
