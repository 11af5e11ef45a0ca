"""The one table of what is done about an error, line by line."""

from __future__ import annotations

import psycopg2
import pytest
import redis
from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, InternalError, OperationalError
from psycopg2 import errors

from detection.config import UnknownConfig
from detection.rebuild import EventsMissing
from ingestion.bad_deploy import BadDeploy
from ingestion.log.base import LogUnavailable, OffsetOutOfRange
from ingestion.models import HaltReason
from ingestion.partitions import PartitionMissing
from ingestion.read import LogReplaced, OtherCluster
from sentinel.bisection import PoisonedBuild, Unproven
from sentinel.outcome import HALTS, Outcome, Overtaken, described, halt_reason, is_about_records, outcome_of, sqlstate


def refused(kind: type[DatabaseError], state: str) -> DatabaseError:
    """Return Django's error as it comes from psycopg2's for an SQLSTATE."""
    error = kind("row (1, jane.doe@example.com)")
    error.__cause__ = errors.lookup(state)("row (1, jane.doe@example.com)")
    error.__cause__.__setstate__({"pgcode": state})  # type: ignore[no-untyped-call]  # libpq sets it otherwise
    return error


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (DataError, "22003"),  # numeric value out of range
        (DataError, "22021"),  # character not in repertoire
        (DataError, "22P02"),  # invalid text representation
        (IntegrityError, "23502"),  # not null violation
        (IntegrityError, "23505"),  # unique violation
        (IntegrityError, "23514"),  # check violation
        (OperationalError, "54000"),  # program limit exceeded
        (OperationalError, "54001"),  # statement too complex
    ],
)
def test_what_a_statement_held_is_about_records(kind: type[DatabaseError], state: str) -> None:
    error = refused(kind, state)
    assert sqlstate(error) == state
    assert outcome_of(error) is Outcome.DATABASE
    assert is_about_records(error)


@pytest.mark.parametrize(
    "state",
    [
        "08006", "08P01",  # connection
        "25006", "25P03",  # read-only after a failover, idle in transaction
        "40001", "40P01",  # rollback, deadlock
        "42703", "42P01",  # a migration is missing
        "53100", "53200", "53300",  # disk, memory, connections
        "55P03",  # lock not available
        "57014", "57P01", "57P03",  # time limit, shutdown, starting up
        "58030",  # I/O error
        "XX000",  # internal error
    ],
)  # fmt: skip
def test_other_refusals_of_postgresql_are_of_the_surroundings(state: str) -> None:
    error = refused(OperationalError, state)
    assert outcome_of(error) is Outcome.DATABASE
    assert not is_about_records(error)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (OperationalError("server closed the connection unexpectedly"), Outcome.DATABASE),
        (InterfaceError("connection already closed"), Outcome.DATABASE),
        (InternalError("?"), Outcome.DATABASE),
        (psycopg2.OperationalError("?"), Outcome.DATABASE),
        (LogUnavailable("Kafka: NodeNotReadyError"), Outcome.LOG_UNAVAILABLE),
        (OffsetOutOfRange("?"), Outcome.OFFSET_OUT_OF_RANGE),
        (redis.ConnectionError("?"), Outcome.REDIS),
        (redis.TimeoutError("?"), Outcome.REDIS),
        (redis.ResponseError("OOM command not allowed"), Outcome.REDIS),
        (ConnectionResetError("?"), Outcome.SYSTEM),
        (OSError(28, "No space left on device"), Outcome.SYSTEM),
        (TimeoutError("?"), Outcome.SYSTEM),
        (Overtaken("?"), Outcome.STALE),
        (Unproven("?"), Outcome.UNPROVEN),
    ],
)
def test_errors_of_the_surroundings_are_held_against_no_record(error: Exception, outcome: Outcome) -> None:
    assert outcome_of(error) is outcome
    assert not is_about_records(error)


@pytest.mark.parametrize(
    "error", [KeyError("x"), ValueError("x"), RecursionError("x"), UnicodeEncodeError("a", "b", 0, 1, "c")]
)
def test_anything_unexpected_may_be_a_record(error: Exception) -> None:
    assert outcome_of(error) is Outcome.UNEXPECTED
    assert is_about_records(error)


def test_memory_may_be_a_record() -> None:
    assert outcome_of(MemoryError()) is Outcome.OUT_OF_MEMORY
    assert is_about_records(MemoryError())


def test_a_check_that_is_no_missing_day_is_about_records() -> None:
    error = PartitionMissing()
    error.__cause__ = refused(IntegrityError, "23514")
    assert outcome_of(error) is Outcome.DATABASE
    assert is_about_records(error)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OtherCluster("?"), HaltReason.OTHER_CLUSTER),
        (LogReplaced("?"), HaltReason.LOG_REPLACED),
        (EventsMissing("?"), HaltReason.EVENTS_MISSING),
        (UnknownConfig("?"), HaltReason.CONFIG_MISSING),
        (BadDeploy("?"), HaltReason.BAD_DEPLOY),
        (PoisonedBuild("?"), HaltReason.POISONED_BUILD),
    ],
)
def test_what_only_a_person_can_judge_halts(error: Exception, reason: HaltReason) -> None:
    assert outcome_of(error) is Outcome.HALTED
    assert halt_reason(error) is reason
    assert not is_about_records(error)


def test_every_halting_error_has_its_line() -> None:
    assert len(set(HALTS.values())) == len(HALTS)


def test_an_error_is_described_without_its_values() -> None:
    assert described(refused(DataError, "22003")) == "DataError 22003"
    assert described(KeyError("jane.doe@example.com")) == "KeyError"
    assert described(LogUnavailable("Kafka: NodeNotReadyError")) == "Kafka: NodeNotReadyError"
