"""What counts as a jump of the share of rejects."""

from __future__ import annotations

import pytest

from ingestion.bad_deploy import Share, is_jump


@pytest.mark.parametrize(
    ("before", "since"),
    [
        (Share(100, 0), Share(50, 50)),
        (Share(40_000, 400), Share(3_000, 450)),
        (Share(50, 0), Share(20_000, 2_000)),
        (Share(1_000, 100), Share(100, 50)),
    ],
)
def test_far_more_than_before_is_a_jump(before: Share, since: Share) -> None:
    assert is_jump(before, since)


@pytest.mark.parametrize(
    ("before", "since", "why"),
    [
        (Share(100, 0), Share(49, 49), "fewer than 50 rejects"),
        (Share(49, 0), Share(100, 100), "too few records before"),
        (Share(1_000, 10), Share(1_000, 105), "less than ten points"),
        (Share(1_000, 150), Share(1_000, 740), "less than five times"),
        (Share(1_000, 1_000), Share(1_000, 1_000), "no more than before"),
        (Share(40_000, 0), Share(20_001, 20_001), "the build is no longer new"),
    ],
)
def test_anything_less_is_none(before: Share, since: Share, why: str) -> None:
    assert not is_jump(before, since), why


def test_shares_add_up_and_read_well() -> None:
    assert str(Share(900, 9) + Share(100, 41)) == "5.0% (50 of 1,000)"
    assert Share().value == 0.0
