from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingestion import suspicion
from ingestion.condition import (
    LAGGING_RECORDS,
    STALLED_SECONDS,
    STRIKES_TO_SET_ASIDE,
    UNSEEN_SECONDS,
    Condition,
    CursorRow,
    Runbook,
    State,
    condition_of,
)
from ingestion.models import HaltReason, PartitionCursor

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


UP_TO_DATE = CursorRow(
    id=1, project_id=1, cluster_id="c", topic="llm.telemetry", partition=2, next_offset=100, attempt=7, ended_attempt=7, dispatches=0,
    dispatched_at=ago(3_600), range_since=None, started_at=None, phase="", retry_at=None, last_error="",
    suspect_end=None, suspected_at=None, strikes=0, lone_strikes=0, lone_deaths=0, condemned_offset=None,
    halted_because="", halted_reason="", halted_at=None, closed_at=None, log_end=100, log_end_at=ago(1),
    held_up_since=None, held_up_offset=None, held_up_end=None, progressed_at=ago(3_600), created_at=ago(7_200),
)  # fmt: skip


def condition(**changes: Any) -> Condition:
    return condition_of(dataclasses.replace(UP_TO_DATE, **changes), now=NOW)


def sent(*, seconds: float, dispatches: int = 1, **changes: Any) -> Condition:
    """Return the condition where the log has more, and the range was handed out first `seconds` ago."""
    row = {"log_end": 112, "attempt": 8, "dispatched_at": ago(seconds), "range_since": ago(seconds)}
    return condition(dispatches=dispatches, **(row | changes))


def started(*, seconds: float, **changes: Any) -> Condition:
    return sent(seconds=seconds, **{"started_at": ago(seconds), "phase": "store", **changes})


def test_a_partition_at_the_end_of_its_log_is_idle() -> None:
    found = condition()
    assert (found.state, found.lag, found.stalled_seconds, found.name) == (State.IDLE, 0, 0.0, "llm.telemetry[2]")
    assert found.since == ago(3_600)
    assert found.is_fine


def test_a_record_after_hours_of_rest_is_no_stall_of_hours() -> None:
    seen = condition(log_end=101)
    handed_out = started(seconds=0.2)
    for found in (seen, handed_out):
        assert found.state is State.WORKING
        assert found.stalled_seconds < 1


def test_a_task_that_nobody_takes_waits_for_a_worker() -> None:
    found = sent(seconds=8, dispatches=2, dispatched_at=ago(6))
    assert (found.state, found.runbook) == (State.WAITING_FOR_WORKER, Runbook.WAITING_FOR_WORKERS)
    assert found.why == "no worker takes its task, which was sent 2 times"
    assert found.since == ago(8)


def test_a_task_sent_a_moment_ago_is_not_yet_waited_for() -> None:
    assert sent(seconds=1).state is State.WORKING


def test_a_minute_without_a_worker_is_stuck_and_says_why() -> None:
    found = sent(seconds=STALLED_SECONDS, dispatches=5, dispatched_at=ago(1))
    assert (found.state, found.runbook) == (State.STUCK, Runbook.WAITING_FOR_WORKERS)
    assert found.why == "no worker takes its task, which was sent 5 times"
    assert found.stalled_seconds == STALLED_SECONDS
    assert found.is_alarming


def test_an_attempt_that_takes_minutes_is_stuck_in_its_phase() -> None:
    found = started(seconds=75)
    assert (found.state, found.why) == (State.STUCK, "its worker is in phase store for 75 s")


@pytest.mark.parametrize(
    ("last_error", "runbook", "why"),
    [
        ("unsent", Runbook.REDIS_AWAY, "Redis takes no tasks; sent again every second"),
        ("busy", Runbook.PARTITION_STALLED, "an earlier attempt still holds its lock"),
        ("log_unavailable: no answer", Runbook.KAFKA_AWAY, "the log does not answer the worker: no answer"),
        ("database: OperationalError 53100", Runbook.POSTGRES_AWAY, "PostgreSQL refuses or is away: OperationalError 53100"),
        ("unexpected: KeyError", Runbook.PARTITION_STALLED, "a stage fails: KeyError"),
        ("something else", Runbook.PARTITION_STALLED, "the last attempt failed: something else"),
    ],
)  # fmt: skip
def test_a_failed_attempt_is_tried_again_and_says_why(last_error: str, runbook: Runbook, why: str) -> None:
    found = sent(seconds=3, dispatches=4, ended_attempt=8, retry_at=ago(-2), last_error=last_error)
    assert (found.state, found.runbook, found.why) == (State.RETRYING, runbook, why)
    late = sent(seconds=90, dispatches=9, ended_attempt=8, retry_at=ago(-2), last_error=last_error)
    assert (late.state, late.runbook, late.why) == (State.STUCK, runbook, why)


@pytest.mark.parametrize(
    ("suspicion", "why"),
    [
        (
            {"suspect_end": 108, "strikes": 1},
            "a record in [100, 108) kills its worker: 1 strike; the range is being halved",
        ),
        (
            {"suspect_end": 108, "strikes": 3},
            "a record in [100, 108) kills its worker: 3 strikes; the range is being halved",
        ),
        (
            {"suspect_end": 101, "strikes": 9, "lone_strikes": 2},
            "record 100 kills its worker: 2 of 3 strikes",
        ),
        (
            {"suspect_end": 101, "strikes": 9, "lone_strikes": 1, "lone_deaths": 4},
            "record 100 kills its worker: 1 of 3 strikes, 4 deaths that nobody saw",
        ),
        (
            {"suspect_end": 101, "strikes": 9, "lone_strikes": 3, "condemned_offset": 100},
            "record 100 has killed its worker three times alone and is being set aside",
        ),
    ],
)
def test_a_suspicion_names_the_records_and_the_strikes(suspicion: dict[str, int], why: str) -> None:
    found = started(seconds=5, suspected_at=ago(9), dispatches=3, **suspicion)
    assert (found.state, found.why, found.since) == (State.SUSPECTED, why, ago(9))
    assert found.runbook is Runbook.RECORD_KILLS_WORKER
    assert found.strikes == suspicion["strikes"]


def test_a_suspicion_that_was_passed_is_over() -> None:
    assert started(seconds=1, suspect_end=100, strikes=3).state is State.WORKING


def test_a_large_backlog_that_shrinks_is_lagging_and_not_stuck() -> None:
    found = started(seconds=2, log_end=100 + LAGGING_RECORDS + 1)
    assert (found.state, found.why) == (State.LAGGING, "30,001 records behind, and moving")
    assert not found.is_alarming


@pytest.mark.parametrize("lag", [0, 12])
def test_where_nobody_sees_the_end_of_the_log_the_lag_is_not_believed(lag: int) -> None:
    found = condition(log_end=100 + lag, log_end_at=ago(UNSEEN_SECONDS + 5))
    assert (found.state, found.runbook, found.since) == (State.STUCK, Runbook.LOG_UNSEEN, ago(UNSEEN_SECONDS + 5))
    assert found.why == (
        "nobody has seen the end of its log for 25 s: no bridge runs, or the log does not answer"
    )  # fmt: skip


HELD_UP = {"held_up_since": ago(95), "held_up_offset": 100, "held_up_end": 112}


def test_records_behind_an_open_transaction_are_lag_and_the_partition_is_stuck() -> None:
    found = condition(**HELD_UP)
    assert (found.state, found.runbook, found.since) == (State.STUCK, Runbook.TRANSACTION_OPEN, ago(95))
    assert found.why == "a producer's open transaction hides what was written from offset 100 to 112"
    assert (found.lag, found.stalled_seconds, found.held_up_seconds) == (12, 95.0, 95.0)


def test_a_transaction_that_has_ended_holds_nothing_up_although_nobody_has_said_so_yet() -> None:
    found = condition(**HELD_UP, log_end=113)
    assert (found.state, found.lag, found.held_up_seconds) == (State.WORKING, 13, 0.0)


def test_while_there_is_something_to_read_before_an_open_transaction_that_is_what_matters() -> None:
    moving = started(seconds=2, next_offset=90, log_end=100, **HELD_UP)
    assert (moving.state, moving.lag, moving.held_up_seconds) == (State.WORKING, 22, 95.0)
    standing = sent(seconds=75, next_offset=90, log_end=100, dispatches=5, **HELD_UP)
    assert (standing.state, standing.runbook) == (State.STUCK, Runbook.WAITING_FOR_WORKERS)


def test_a_halt_says_more_than_an_open_transaction() -> None:
    assert condition(**HELD_UP, halted_reason="x", halted_at=ago(9)).state is State.HALTED


def test_a_log_that_is_not_in_use_any_more_rests_unless_it_holds_records() -> None:
    empty = condition_of(dataclasses.replace(UP_TO_DATE, log_end_at=ago(9_999)), now=NOW, in_use=False)
    assert (empty.state, empty.unseen_seconds) == (State.IDLE, 0.0)
    full = condition_of(dataclasses.replace(UP_TO_DATE, log_end=103, log_end_at=ago(9_999)), now=NOW, in_use=False)
    assert (full.state, full.lag, full.runbook) == (State.STUCK, 3, Runbook.LOG_UNSEEN)


def test_a_new_partition_has_a_moment_until_its_log_is_seen() -> None:
    assert condition(log_end_at=None, created_at=ago(1)).state is State.IDLE
    assert condition(log_end_at=None, created_at=ago(60)).runbook is Runbook.LOG_UNSEEN


@pytest.mark.parametrize("because", HaltReason)
def test_every_halt_says_its_reason_and_has_a_runbook_of_its_own(because: HaltReason) -> None:
    found = condition(halted_because=because.value, halted_reason="offset 99 is another record", halted_at=ago(600))
    assert (found.state, found.why, found.since) == (State.HALTED, "offset 99 is another record", ago(600))
    assert found.runbook == because.value.replace("_", "-")
    assert found.is_alarming


def test_a_halt_of_an_earlier_version_has_no_named_reason() -> None:
    found = condition(halted_reason="the log was replaced")
    assert (found.state, found.runbook, found.since) == (State.HALTED, Runbook.INDEX, ago(3_600))


def test_a_halted_partition_still_counts_the_seconds_that_it_stands() -> None:
    assert sent(seconds=300, halted_reason="x", halted_at=ago(290)).stalled_seconds == 300


def test_a_closed_partition_alarms_nobody_and_lags_by_nothing() -> None:
    found = condition(closed_at=ago(50), halted_reason="x", log_end=500, log_end_at=ago(9_999))
    assert (found.state, found.lag, found.since) == (State.CLOSED, 0, ago(50))
    assert found.is_fine


def test_the_row_has_the_columns_of_the_cursor() -> None:
    cursor = PartitionCursor(topic="t", partition=0, next_offset=3, progressed_at=NOW, created_at=NOW)
    assert CursorRow.of(cursor).next_offset == 3


def test_so_many_strikes_are_shown_as_are_needed() -> None:
    assert STRIKES_TO_SET_ASIDE == suspicion.STRIKES_TO_SET_ASIDE
