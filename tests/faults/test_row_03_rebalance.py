"""Row 3: a third bridge joins and leaves under load."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise

import pytest

from sentinel.child import wait_until
from tests.faults.arena import Arena, Arenas

pytestmark = pytest.mark.fault

ROUNDS = 10
# Two bridges can share them as evenly as three.
PARTITIONS = 6
SHARED_SECONDS = 60.0
# A partition that changes its owner may wait until every bridge serves it.
BOUND_SECONDS = 5.0


def test_row_03_partitions_keep_moving_while_bridges_join_and_leave(arenas: Arenas) -> None:
    with arenas.open(row="03", fault="a third bridge joins and leaves", partitions=PARTITIONS) as arena:
        arena.start("bridge-2", "bridge")
        arena.start_load(per_second=1_000)
        shares = [shared_out(arena, bridges=2)]
        for _ in range(ROUNDS):
            with arena.fault() as fault:
                arena.start("bridge-3", "bridge")
                shares.append(shared_out(arena, bridges=3))
                assert arena.crew.stop("bridge-3")
                fault.note("left")
                shares.append(shared_out(arena, bridges=2))
        steps = list(pairwise(shares))
        undisturbed = [step for step in steps if len(stayed(*step)) == 2]
        arena.remarks.append(f"in {len(undisturbed)} of {len(steps)} steps both others kept their seats")
        figures = arena.finish()
    # A bridge whose join was lost takes a new seat: nobody knows then what it would have kept.
    assert len(undisturbed) >= ROUNDS
    assert [list(taken(*step)) for step in undisturbed] == [[]] * len(undisturbed)
    assert figures.standstill_max_seconds is not None
    assert figures.standstill_max_seconds <= BOUND_SECONDS * arena.slowness


Shares = Mapping[int, str]


def shared_out(arena: Arena, *, bridges: int) -> Shares:
    """Return who reads each partition once so many bridges have equal shares."""
    found: Shares = {}

    def is_even() -> bool:
        nonlocal found
        found = arena.owners()
        return sorted(Counter(found.values()).values()) == [PARTITIONS // bridges] * bridges

    assert wait_until(is_even, timeout_seconds=SHARED_SECONDS), found
    return found


def stayed(before: Shares, after: Shares) -> set[str]:
    """Return the bridges that were there before and after."""
    return {*before.values()} & {*after.values()}


def taken(before: Shares, after: Shares) -> Iterator[int]:
    """Yield the partitions that one of those who stayed has got from another one, for no reason."""
    stays = stayed(before, after)
    for partition, owner in before.items():
        if {owner, after[partition]} <= stays and owner != after[partition]:
            yield partition
