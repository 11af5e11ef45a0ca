from __future__ import annotations

import pytest

from ingestion.scrubbed_header import HEADER_SCRUBBED, joined, read_scrubbed, write_scrubbed


def test_counts_survive_the_way_through_the_log() -> None:
    assert read_scrubbed([("other", b"x"), *write_scrubbed({"EMAIL": 2})]) == {"EMAIL": 2}


@pytest.mark.parametrize("counts", [None, {}])
def test_nothing_scrubbed_needs_no_header(counts: dict[str, int] | None) -> None:
    assert write_scrubbed(counts) == []


@pytest.mark.parametrize(
    "value", [b"", b"\xff", b"[]", b'{"EMAIL": "x"}', b'{"EMAIL": -1}', b'{"": 1}', b'{"a\\u0000": 1}', b'{"A": 1e9}']
)
def test_a_header_that_cannot_be_used_is_ignored(value: bytes) -> None:
    assert read_scrubbed([(HEADER_SCRUBBED, value)]) == {}


def test_what_was_scrubbed_before_is_added_to_what_is_found_now() -> None:
    assert joined({"EMAIL": 2}, {"EMAIL": 1, "CARD": 1}) == {"EMAIL": 3, "CARD": 1}
    assert joined({}, {"CARD": 1}) == {"CARD": 1}
    assert joined({"EMAIL": 2}, None) == {"EMAIL": 2}
    assert joined({}, None) is None
