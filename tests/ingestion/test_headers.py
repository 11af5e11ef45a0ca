"""The producer's stamp survives the headers, and bad headers never cost an event."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.headers import (
    HEADER_COUNTERS,
    HEADER_EPOCH,
    HEADER_PRODUCER_ID,
    HEADER_SEQUENCE,
    MAX_VALUE,
    ProducerStamp,
    read_stamp,
    write_stamp,
)

ID, EPOCH, SEQUENCE = (HEADER_PRODUCER_ID, b"web-1"), (HEADER_EPOCH, b"1700000000000"), (HEADER_SEQUENCE, b"41")
STAMP = ProducerStamp("web-1", 1_700_000_000_000, 41)
bigints = st.integers(0, MAX_VALUE)


@given(
    st.builds(
        ProducerStamp,
        st.from_regex(r"[A-Za-z0-9._:/-]{1,128}", fullmatch=True),
        bigints,
        bigints,
        st.dictionaries(st.text("abc_", min_size=1, max_size=8), bigints, max_size=5),
    )
)
def test_a_written_stamp_reads_the_same(stamp: ProducerStamp) -> None:
    assert read_stamp(write_stamp(stamp)) == stamp


def test_headers_of_others_are_passed_over() -> None:
    assert read_stamp([("traceparent", b"00-x"), ID, EPOCH, SEQUENCE, ("k", b"\xff")]) == STAMP


def test_a_record_without_headers_has_no_stamp() -> None:
    assert read_stamp([]) is None


@pytest.mark.parametrize("missing", range(3))
def test_an_incomplete_stamp_is_none(missing: int) -> None:
    headers = [ID, EPOCH, SEQUENCE]
    del headers[missing]
    assert read_stamp(headers) is None


@pytest.mark.parametrize(
    "digits", [b"", b"-1", b"+1", b" 1", b"1_0", b"1.0", b"x", b"\xd9\xa1", b"9" * 19, b"1" * 5000]
)
def test_a_sequence_that_is_no_bigint_makes_no_stamp(digits: bytes) -> None:
    assert read_stamp([ID, EPOCH, (HEADER_SEQUENCE, digits)]) is None


@pytest.mark.parametrize("producer_id", [b"", b"a\0b", b"\xff", b"p" * 129, b"ada@example.com", b"web 1", b"web-1\n"])
def test_a_producer_id_that_cannot_be_stored_makes_no_stamp(producer_id: bytes) -> None:
    assert read_stamp([(HEADER_PRODUCER_ID, producer_id), EPOCH, SEQUENCE]) is None


@pytest.mark.parametrize(
    ("encoded", "counters"),
    [
        (b'{"sent": 5, "dropped": -1}', {"sent": 5}),
        (b'{"": 1, "ok": 9223372036854775807}', {"ok": MAX_VALUE}),
        (b'{"ada@example.com": 1, "sent ": 2, "sent": 3}', {"sent": 3}),
        (b'{"big": 9223372036854775808}', {}),
        (b'{"text": "5"}', {}),
        (b"not json", {}),
        (b'{"a": {"b": 1}}', {}),
        (b"\xff", {}),
    ],
)
def test_bad_counters_do_not_spoil_the_stamp(encoded: bytes, counters: dict[str, int]) -> None:
    stamp = read_stamp([ID, EPOCH, SEQUENCE, (HEADER_COUNTERS, encoded)])
    assert stamp == ProducerStamp("web-1", 1_700_000_000_000, 41, counters)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([HEADER_PRODUCER_ID, HEADER_EPOCH, HEADER_SEQUENCE, HEADER_COUNTERS, "other"]),
            st.binary(max_size=30),
        )
    )
)
def test_no_headers_raise(headers: list[tuple[str, bytes]]) -> None:
    read_stamp(headers)
