"""The state table of the bridge: what it does about a cursor, from the row alone."""

import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingestion.dispatch import Action, Because, decide
from ingestion.models import HaltReason, PartitionCursor
from ingestion.models.cursor import Phase
from ingestion.suspicion import TIMED_OUT

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def decision(
    cursor: PartitionCursor,
    *,
    end: int = 100,
    lock_held: bool = False,
    lock_free_seconds: float = 0.0,
    restarted: bool = False,
) -> Any:
    return decide(
        cursor,
        end_offset=end,
        lock_held=lock_held,
        lock_free_seconds=lock_free_seconds,
        now=NOW,
        hard_limit_seconds=60,
        broker_restarted=restarted,
    )


def seconds_ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def dispatched(seconds: float, **fields: Any) -> PartitionCursor:
    return PartitionCursor(
        next_offset=10, attempt=1, dispatched_end=50, dispatched_at=seconds_ago(seconds), **{"unstarted": 1, **fields}
    )


def test_a_cursor_at_the_end_of_the_log_is_left_alone() -> None:
    assert decision(PartitionCursor(next_offset=100)).because is Because.UP_TO_DATE


def test_a_cursor_with_new_records_is_dispatched() -> None:
    found = decision(PartitionCursor(next_offset=10))
    assert (found.action, found.because) == (Action.DISPATCH, Because.NEW_RECORDS)


def test_a_halted_partition_is_left_alone() -> None:
    assert decision(PartitionCursor(next_offset=10, halted_reason="anchor")).because is Because.HALTED


def test_a_fresh_dispatch_gets_time_to_start() -> None:
    assert decision(dispatched(3.9)).because is Because.WAITING_FOR_WORKER


def test_a_dispatch_that_nobody_started_is_repeated_after_four_seconds() -> None:
    found = decision(dispatched(4.1))
    assert (found.action, found.because) == (Action.DISPATCH, Because.NOT_STARTED)


@pytest.mark.parametrize(("unstarted", "patience"), [(2, 8), (3, 16), (4, 32), (5, 60), (50, 60)])
def test_the_patience_doubles_up_to_a_minute(unstarted: int, patience: int) -> None:
    assert decision(dispatched(patience - 0.1, unstarted=unstarted)).action is Action.NOTHING
    assert decision(dispatched(patience + 0.1, unstarted=unstarted)).action is Action.DISPATCH


def test_attempts_that_failed_do_not_make_the_bridge_wait_longer_for_a_lost_task() -> None:
    assert decision(dispatched(4.1, dispatches=7)).because is Because.NOT_STARTED


def test_what_has_not_started_is_repeated_at_once_when_redis_was_restarted() -> None:
    assert decision(dispatched(0.1), restarted=True).because is Because.BROKER_RESTARTED


def test_a_running_attempt_is_not_repeated_when_redis_was_restarted() -> None:
    cursor = dispatched(0.2, started_at=seconds_ago(0.1))
    assert decision(cursor, lock_held=True, restarted=True).because is Because.WORKING


def test_a_worker_that_holds_its_lock_is_left_to_work() -> None:
    cursor = dispatched(30, started_at=seconds_ago(29))
    assert decision(cursor, lock_held=True).because is Because.WORKING


def test_a_worker_beyond_the_hard_limit_loses_its_session_first() -> None:
    cursor = dispatched(70, started_at=seconds_ago(61))
    assert decision(cursor, lock_held=True).action is Action.TERMINATE_THEN_DISPATCH


def shut_out(seconds: float, **fields: Any) -> PartitionCursor:
    """Return a cursor whose attempt has found the lock held, of a range that was handed out first so long ago."""
    return dispatched(1, ended_attempt=1, range_since=seconds_ago(seconds), **{"last_error": "busy", **fields})


def test_a_lock_that_outlasts_every_attempt_is_taken_from_its_session() -> None:
    found = decision(shut_out(61))
    assert (found.action, found.because) == (Action.TERMINATE_THEN_DISPATCH, Because.LOCK_KEPT)


def test_a_lock_that_is_held_for_a_moment_is_left_to_its_session() -> None:
    assert decision(shut_out(59)).action is Action.DISPATCH
    assert decision(shut_out(61, last_error="database")).action is Action.DISPATCH


def died(death_signal: int | None, **fields: Any) -> PartitionCursor:
    return dispatched(1, started_at=seconds_ago(0.5), death_signal=death_signal, build="b1", **fields)


def test_a_worker_that_died_of_a_known_signal_is_replaced_at_once() -> None:
    found = decision(died(signal.SIGKILL))
    assert (found.action, found.because) == (Action.DISPATCH, Because.DIED)


def test_a_death_that_nobody_has_reported_yet_waits_for_the_report() -> None:
    assert decision(died(None), lock_free_seconds=1.4).because is Because.WAITING_FOR_REPORT
    assert decision(died(None), lock_free_seconds=1.6).because is Because.DIED


def test_a_worker_that_was_stopped_leaves_no_suspicion() -> None:
    found = decision(died(signal.SIGTERM))
    assert (found.action, found.because, found.suspicion) == (Action.DISPATCH, Because.WAS_STOPPED, None)


@pytest.mark.parametrize("phase", [Phase.DECODE, Phase.SCRUB])
def test_time_that_ran_out_while_records_were_worked_on_is_a_death_without_proof(phase: Phase) -> None:
    found = decision(died(TIMED_OUT, phase=phase))
    assert found.because is Because.DIED
    assert found.suspicion.strikes == 1
    alone = died(TIMED_OUT, phase=phase, suspected_build="b1", lone_strikes=3, strikes=9)
    alone.dispatched_end = 11
    found = decision(alone)
    assert found.action is Action.DISPATCH
    assert (found.suspicion.lone_strikes, found.suspicion.lone_deaths) == (3, 1)


@pytest.mark.parametrize("phase", [Phase.READ, Phase.STORE])
def test_time_that_ran_out_while_others_were_waited_for_is_none(phase: Phase) -> None:
    found = decision(died(TIMED_OUT, phase=phase))
    assert (found.because, found.suspicion) == (Because.WAS_STOPPED, None)


def test_a_record_that_has_killed_three_workers_alone_is_set_aside() -> None:
    alone = died(signal.SIGSEGV, suspected_build="b1", lone_strikes=2, strikes=9)
    alone.dispatched_end = 11
    assert decision(alone).action is Action.SET_ASIDE


@pytest.mark.parametrize("strikes", [3, 8])
def test_a_death_that_nobody_saw_sets_no_record_aside_however_many_were_seen_before(strikes: int) -> None:
    alone = died(None, suspected_build="b1", lone_strikes=strikes, strikes=9)
    alone.dispatched_end = 11
    found = decision(alone, lock_free_seconds=2)
    assert found.action is Action.DISPATCH
    assert (found.suspicion.lone_strikes, found.suspicion.lone_deaths) == (strikes, 1)


def test_a_record_that_kills_although_it_is_not_decoded_halts_the_partition() -> None:
    alone = died(signal.SIGSEGV, suspected_build="b1", lone_strikes=5, strikes=12, condemned_offset=10)
    alone.dispatched_end = 11
    found = decision(alone)
    assert (found.action, found.halt) == (Action.HALT, HaltReason.POISONED_BUILD)


def test_five_deaths_on_one_record_that_nobody_saw_halt_the_partition() -> None:
    alone = died(None, suspected_build="b1", lone_deaths=4, strikes=9)
    alone.dispatched_end = 11
    found = decision(alone, lock_free_seconds=2)
    assert (found.action, found.halt) == (Action.HALT, HaltReason.UNEXPLAINED_DEATHS)


def test_a_closed_partition_is_left_alone() -> None:
    assert decision(PartitionCursor(next_offset=10, closed_at=NOW)).because is Because.CLOSED


def test_an_attempt_that_ended_with_an_error_waits_for_its_retry() -> None:
    cursor = dispatched(3, started_at=seconds_ago(2), ended_attempt=1, retry_at=NOW + timedelta(seconds=1))
    assert decision(cursor).because is Because.WAITING_FOR_RETRY


def test_an_attempt_that_ended_is_followed_by_the_next_once_its_wait_is_over() -> None:
    cursor = dispatched(3, started_at=seconds_ago(2), ended_attempt=1, retry_at=seconds_ago(0.1))
    assert decision(cursor).because is Because.NEW_RECORDS
