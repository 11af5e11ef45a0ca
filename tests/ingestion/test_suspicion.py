"""Finding the record that kills its worker, from the cursor's row alone."""

import signal

import pytest

from ingestion.models import PartitionCursor
from ingestion.models.cursor import Phase
from ingestion.suspicion import TIMED_OUT, Suspicion, after_death, range_end

BATCH = 3_000


def crashes_until_set_aside(poison: int, *, width: int = BATCH) -> tuple[int, list[tuple[int, int]]]:
    """Play bridge and worker over [0, width): a range that holds the poison kills; return deaths and commits."""
    cursor = PartitionCursor(next_offset=0, build="b1")
    deaths, commits = 0, []
    while True:
        suspicion = Suspicion.of(cursor)
        end = range_end(next_offset=cursor.next_offset, log_end=width, batch_records=BATCH, suspicion=suspicion)
        cursor.dispatched_end = end
        if not cursor.next_offset <= poison < end:
            commits.append((cursor.next_offset, end))
            cursor.next_offset = end
            cursor.lone_strikes = cursor.lone_deaths = 0
            continue
        deaths += 1
        cursor.death_signal = signal.SIGKILL
        found = after_death(cursor)
        if found.may_set_aside:
            assert (cursor.next_offset, end) == (poison, poison + 1)
            return deaths, commits
        cursor.suspect_end, cursor.strikes = found.suspect_end, found.strikes
        cursor.lone_strikes, cursor.suspected_build = found.lone_strikes, found.build


@pytest.mark.parametrize("poison", [0, 1, 2, 255, 256, 1_499, 1_500, 1_501, 2_047, 2_998, 2_999])
def test_the_poison_is_found_alone_within_eighteen_deaths(poison: int) -> None:
    deaths, commits = crashes_until_set_aside(poison)
    assert deaths <= 18
    assert sum(end - start for start, end in commits) == poison


def test_every_place_of_the_poison_is_found() -> None:
    assert max(crashes_until_set_aside(poison)[0] for poison in range(BATCH)) == 16


def test_a_range_of_one_record_takes_three_deaths() -> None:
    assert crashes_until_set_aside(0, width=1)[0] == 3


def test_the_first_death_repeats_the_same_range() -> None:
    cursor = PartitionCursor(next_offset=10, dispatched_end=60, build="b1", death_signal=signal.SIGSEGV)
    found = after_death(cursor)
    assert range_end(next_offset=10, log_end=900, batch_records=BATCH, suspicion=found) == 60


def test_what_lies_beyond_a_suspected_range_is_free_of_it() -> None:
    suspicion = Suspicion(suspect_end=60, strikes=4)
    assert range_end(next_offset=60, log_end=900, batch_records=BATCH, suspicion=suspicion) == 900


def test_a_death_that_nobody_saw_never_counts_towards_setting_aside() -> None:
    cursor = PartitionCursor(next_offset=10, dispatched_end=11, build="b1")
    for _ in range(4):
        found = after_death(cursor)
        cursor.suspect_end, cursor.strikes, cursor.lone_deaths = found.suspect_end, found.strikes, found.lone_deaths
        cursor.suspected_build = found.build
        assert not found.may_set_aside
        assert not found.is_hopeless
    assert after_death(cursor).is_hopeless


@pytest.mark.parametrize("phase", [Phase.DECODE, Phase.SCRUB])
def test_time_that_runs_out_again_and_again_never_counts_towards_setting_aside(phase: Phase) -> None:
    """The phase lags behind the work: who waits for PostgreSQL between two stages still shows the first."""
    cursor = PartitionCursor(next_offset=10, dispatched_end=11, build="b1", death_signal=TIMED_OUT, phase=phase)
    for _ in range(5):
        found = after_death(cursor)
        assert not found.may_set_aside
        cursor.lone_deaths, cursor.suspected_build = found.lone_deaths, found.build
    assert found.is_hopeless


def test_another_build_is_tried_from_the_start() -> None:
    cursor = PartitionCursor(
        next_offset=10,
        dispatched_end=11,
        build="b2",
        suspected_build="b1",
        strikes=9,
        lone_strikes=2,
        death_signal=signal.SIGKILL,
    )
    assert after_death(cursor) == Suspicion(suspect_end=11, strikes=1, lone_strikes=1, lone_doubts=1, build="b2")


def test_what_the_kernel_may_send_to_anybody_is_counted_apart() -> None:
    cursor = PartitionCursor(
        next_offset=10, dispatched_end=11, build="b1", suspected_build="b1", lone_strikes=2, lone_doubts=1
    )
    cursor.death_signal = signal.SIGKILL
    assert after_death(cursor) == Suspicion(suspect_end=11, strikes=1, lone_strikes=3, lone_doubts=2, build="b1")
    cursor.death_signal = signal.SIGSEGV
    found = after_death(cursor)
    assert found == Suspicion(suspect_end=11, strikes=1, lone_strikes=3, lone_doubts=1, build="b1")
    assert found.may_set_aside
    assert not found.is_beyond_doubt
