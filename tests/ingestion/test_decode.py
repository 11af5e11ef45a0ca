"""Records become verdicts in the order of the log, and no more of them than the caller wants rejected."""

from __future__ import annotations

from ingestion.decode import Decoded, decode_records
from ingestion.limits import Limits
from ingestion.log.base import Record

GOOD = (
    b'{"service_name":"chat","model":"m","prompt":{"text":"a","tokens":1},"response":{"text":"b","tokens":1},'
    b'"latency_ms":1.0,"cost_usd":0.1,"metadata":{},"errors":[]}'
)


def decode(*values: bytes | None, max_rejected: int | None = None) -> Decoded:
    # Every second offset is a transaction marker.
    records = [Record(10 + 2 * place, 1_772_366_400_000, None, value, ()) for place, value in enumerate(values)]
    return decode_records(records, topic_id="t", partition=0, limits=Limits(), max_rejected=max_rejected)


def offsets(decoded: Decoded) -> tuple[list[int], list[int]]:
    return [record.offset for record, _ in decoded.accepted], [record.offset for record, _ in decoded.rejected]


def test_without_a_limit_every_record_gets_a_verdict() -> None:
    decoded = decode(GOOD, b"{", None, GOOD)
    assert offsets(decoded) == ([10, 16], [12, 14])
    assert decoded.until is None


def test_what_follows_the_last_reject_is_left() -> None:
    decoded = decode(b"{", GOOD, None, GOOD, b"{", max_rejected=2)
    assert offsets(decoded) == ([12], [10, 14])
    assert decoded.until == 16


def test_nothing_is_left_where_the_last_reject_is_the_last_record() -> None:
    decoded = decode(GOOD, b"{", b"{", max_rejected=2)
    assert offsets(decoded) == ([10], [12, 14])
    assert decoded.until is None


def test_fewer_rejects_than_the_limit_leave_nothing() -> None:
    assert decode(b"{", GOOD, GOOD, max_rejected=2).until is None
