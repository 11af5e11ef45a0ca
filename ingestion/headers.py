"""Who produced a record and which one it is: the producer's stamp, in record headers or the envelope of HTTP.

With it the server tells loss from silence: a gap in the sequence of one epoch is lost records, the SDK's own counters
say what it dropped and why. A missing or unreadable stamp never rejects an event.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

HEADER_PRODUCER_ID = "sentinel-producer-id"
HEADER_EPOCH = "sentinel-producer-epoch"
HEADER_SEQUENCE = "sentinel-producer-sequence"
HEADER_COUNTERS = "sentinel-producer-counters"

MAX_COUNTERS = 32
MAX_VALUE = 2**63 - 1

# Stamps are not scrubbed, so that names in them must not be able to hold what people write: no "@", no blanks.
_is_name = re.compile(r"[A-Za-z0-9._:/-]{1,128}").fullmatch

_decode_counters = msgspec.json.Decoder(dict[str, int]).decode


class ProducerStamp(msgspec.Struct, frozen=True, gc=False):
    """One record of one producer.

    `producer_id` names a producer over its restarts, `epoch` one life of it (its start, in milliseconds, or any number
    that grows), `sequence` counts its records from 0 in each epoch. `counters` are totals of the epoch by name, such
    as "sent" or "dropped_queue_full"; SDKs send them now and then, not with every record.
    """

    producer_id: str
    epoch: int
    sequence: int
    counters: dict[str, int] = {}


def write_stamp(stamp: ProducerStamp) -> list[tuple[str, bytes]]:
    """Return the headers of a stamp: UTF-8 text, decimal numbers, and the counters as JSON where there are any."""
    headers = [
        (HEADER_PRODUCER_ID, stamp.producer_id.encode()),
        (HEADER_EPOCH, b"%d" % stamp.epoch),
        (HEADER_SEQUENCE, b"%d" % stamp.sequence),
    ]
    if stamp.counters:
        headers.append((HEADER_COUNTERS, msgspec.json.encode(stamp.counters)))
    return headers


def read_stamp(headers: Sequence[tuple[str, bytes]]) -> ProducerStamp | None:
    """Return the stamp of a record; None where it is missing, incomplete or unreadable. Never raises."""
    if not headers:
        return None
    values = dict(headers)
    try:
        stamp = ProducerStamp(
            values[HEADER_PRODUCER_ID].decode(),
            _number(values[HEADER_EPOCH]),
            _number(values[HEADER_SEQUENCE]),
            _counters(values.get(HEADER_COUNTERS)),
        )
    except (KeyError, ValueError, AttributeError, TypeError, RecursionError):
        return None
    return stamp if is_valid_stamp(stamp) else None


def is_valid_stamp(stamp: ProducerStamp) -> bool:
    """Return whether the id is a name and the numbers fit a bigint."""
    return is_producer_id(stamp.producer_id) and 0 <= stamp.epoch <= MAX_VALUE and 0 <= stamp.sequence <= MAX_VALUE


def is_producer_id(text: str) -> bool:
    """Return whether `text` is 1 to 128 letters, digits and ._:/- of ASCII."""
    return _is_name(text) is not None


def valid_counters(counters: dict[str, int]) -> dict[str, int]:
    """Return the counters that can be stored; a bad one spoils neither the others nor the stamp."""
    return {
        name: value
        for name, value in list(counters.items())[:MAX_COUNTERS]
        if _is_name(name) and 0 <= value <= MAX_VALUE
    }


def _number(digits: bytes) -> int:
    # int() alone also reads signs, blanks and underscores, and thousands of digits slowly.
    if len(digits) > 19 or not digits.isdigit():
        raise ValueError("not a decimal number of at most 19 digits")
    return int(digits)


def _counters(encoded: bytes | None) -> dict[str, int]:
    if encoded is None:
        return {}
    try:
        return valid_counters(_decode_counters(encoded))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
