"""The next range is as long as brings about so many rejects, and an ordinary one is never shortened."""

from __future__ import annotations

import pytest

from ingestion.range_size import MAX_REJECTED, next_range_records


@pytest.mark.parametrize(
    ("records", "rejected", "expected"),
    [
        (3_000, 0, 3_000),
        (3_000, 30, 3_000),
        (3_000, MAX_REJECTED, 3_000),
        (MAX_REJECTED, MAX_REJECTED, MAX_REJECTED),
        (2 * MAX_REJECTED, MAX_REJECTED, 2 * MAX_REJECTED),
        (1, 1, MAX_REJECTED),
        (0, 0, 3_000),
    ],
)
def test_the_share_of_rejects_sets_how_many_records_come_next(records: int, rejected: int, expected: int) -> None:
    assert next_range_records(most=3_000, records=records, rejected=rejected) == expected


def test_a_small_limit_stays_the_limit() -> None:
    assert next_range_records(most=7, records=MAX_REJECTED, rejected=MAX_REJECTED) == 7
