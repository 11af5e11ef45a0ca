"""A chunk can be cut; what is left out is read again."""

from __future__ import annotations

from ingestion.log.base import Chunk, Record


def test_the_part_before_an_offset_ends_there() -> None:
    records = [Record(offset, 0, None, b"x", ()) for offset in (3, 4, 7, 9)]
    assert Chunk(records, 12, 40).until(7) == Chunk(records[:2], 7, 40)
