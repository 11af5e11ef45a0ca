"""The order in which a worker looks into its queues."""

from __future__ import annotations

import pytest
from django.conf import settings

from sentinel.turns import TURNS, Turns

KEEP_UP, BEHIND, BEAT = settings.SENTINEL_QUEUE_INGEST, settings.SENTINEL_QUEUE_BEHIND, settings.SENTINEL_QUEUE_BEAT


def taken(turns: Turns, filled: set[str], count: int) -> list[str]:
    """Take so many tasks where the queues in `filled` never run empty."""
    return [turns.rotate(next(queue for queue in turns.consume(3) if queue in filled)) for _ in range(count)]


@pytest.fixture
def turns() -> Turns:
    found = Turns()
    found.update([BEHIND, KEEP_UP, BEAT])
    return found


def test_who_keeps_up_goes_first(turns: Turns) -> None:
    assert turns.consume(3) == [KEEP_UP, BEAT, BEHIND]


def test_one_turn_in_so_many_is_for_those_that_are_behind(turns: Turns) -> None:
    found = taken(turns, {KEEP_UP, BEHIND}, 3 * TURNS)
    assert [n for n, queue in enumerate(found, start=1) if queue == BEHIND] == [TURNS, 2 * TURNS, 3 * TURNS]


def test_without_others_there_is_nothing_to_wait_for(turns: Turns) -> None:
    assert taken(turns, {BEHIND}, 3) == [BEHIND] * 3


def test_the_other_queues_take_turns(turns: Turns) -> None:
    assert taken(turns, {KEEP_UP, BEAT}, 4) == [KEEP_UP, BEAT, KEEP_UP, BEAT]
