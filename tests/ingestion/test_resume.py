from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from ingestion import cursor as cursors
from ingestion.dispatch import Action, Because, decide
from ingestion.models import Batch, HaltReason, PartitionCursor, Project
from ingestion.resume import Choice, ResumeRefused, outlook, refusal, resume

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLAIN = Choice()
_partitions = itertools.count()


def halted(because: HaltReason | str, **values: Any) -> PartitionCursor:
    row = {
        "cluster_id": "c", "topic_id": "t", "topic": "llm.telemetry", "next_offset": 70, "attempt": 9,
        "ended_attempt": 8, "dispatches": 4, "dispatched_at": NOW, "range_since": NOW, "started_at": NOW,
        "last_error": "busy", "retry_at": NOW, "death_signal": 11, "build": "0.2.0+abc", "suspect_end": 71,
        "suspected_at": NOW, "suspected_build": "0.2.0+abc", "strikes": 6, "lone_strikes": 3, "lone_doubts": 1,
        "lone_deaths": 2,
        "halted_because": str(because), "halted_reason": "for a test", "halted_at": NOW,
    }  # fmt: skip
    project = Project.objects.get(slug="default")
    return PartitionCursor.objects.create(project=project, partition=next(_partitions), **(row | values))


def choice_for(because: HaltReason) -> Choice:
    return Choice(accept_log=because is HaltReason.LOG_REPLACED)


@pytest.mark.parametrize("because", HaltReason)
def test_resuming_forgets_the_halt_the_attempt_and_the_suspicion(because: HaltReason) -> None:
    cursor = halted(because)
    resume(cursor, choice_for(because), by="ada")
    cursor.refresh_from_db()
    assert (cursor.halted_because, cursor.halted_reason, cursor.halted_at) == ("", "", None)
    assert (cursor.suspect_end, cursor.suspected_at, cursor.suspected_build) == (None, None, "")
    assert (cursor.strikes, cursor.lone_strikes, cursor.lone_doubts, cursor.lone_deaths) == (0, 0, 0, 0)
    assert (cursor.retry_at, cursor.death_signal, cursor.last_error, cursor.started_at) == (None, None, "", None)
    assert (cursor.dispatches, cursor.range_since, cursor.ended_attempt) == (0, None, cursor.attempt)
    assert (cursor.next_offset, cursor.condemned_offset) == (70, None)


def test_a_replaced_log_is_not_resumed_by_accident() -> None:
    cursor = halted(HaltReason.LOG_REPLACED)
    with pytest.raises(ResumeRefused, match="only if you accept the log as it is now"):
        resume(cursor, PLAIN, by="ada")
    cursor.refresh_from_db()
    assert cursor.halted_reason


def test_accepting_the_log_trusts_the_last_batch_and_no_other() -> None:
    cursor = halted(HaltReason.LOG_REPLACED)
    Batch.objects.create(cursor=cursor, attempt=1, start_offset=0, end_offset=30)
    last = Batch.objects.create(cursor=cursor, attempt=2, start_offset=30, end_offset=70)
    resume(cursor, Choice(accept_log=True), by="ada")
    cursor.refresh_from_db()
    assert cursor.trusted_batch_id == last.pk


@pytest.mark.parametrize("because", [HaltReason.POISONED_BUILD, HaltReason.UNEXPLAINED_DEATHS])
def test_the_one_record_that_kills_can_be_set_aside(because: HaltReason) -> None:
    cursor = halted(because)
    resume(cursor, Choice(set_aside=True), by="ada")
    cursor.refresh_from_db()
    assert cursor.condemned_offset == 70
    assert cursor.last_error == "set aside by ada, after a halt: for a test"


def test_a_bad_deploy_that_is_resumed_is_accepted() -> None:
    cursor = halted(HaltReason.BAD_DEPLOY)
    resume(cursor, PLAIN, by="ada")
    cursor.refresh_from_db()
    assert cursor.accepted_build == "0.2.0+abc"


def test_other_halts_accept_no_build() -> None:
    cursor = halted(HaltReason.BEYOND_END, accepted_build="0.1.0+old")
    resume(cursor, PLAIN, by="ada")
    cursor.refresh_from_db()
    assert cursor.accepted_build == "0.1.0+old"


@pytest.mark.parametrize(
    ("because", "choice", "message"),
    [
        (HaltReason.BAD_DEPLOY, Choice(set_aside=True), "halted for bad_deploy: there is no one record to set aside"),
        (HaltReason.POISONED_BUILD, Choice(accept_log=True), "halted for poisoned_build: there is no other log to accept"),
        ("", Choice(set_aside=True), "halted for another reason: there is no one record to set aside"),
    ],
)  # fmt: skip
def test_a_decision_that_does_not_fit_the_reason_is_refused(because: str, choice: Choice, message: str) -> None:
    cursor = halted(because)
    with pytest.raises(ResumeRefused, match=message):
        resume(cursor, choice, by="ada")
    cursor.refresh_from_db()
    assert cursor.halted_reason


def test_what_is_not_halted_or_closed_is_refused() -> None:
    assert str(refusal(halted("", halted_reason=""), PLAIN)).endswith("is not halted")
    assert str(refusal(halted(HaltReason.BEYOND_END, closed_at=NOW), PLAIN)).endswith("is closed for good")


def test_of_two_people_one_resumes() -> None:
    cursor = halted(HaltReason.BEYOND_END)
    again = PartitionCursor.objects.get(pk=cursor.pk)
    resume(cursor, PLAIN, by="ada")
    with pytest.raises(ResumeRefused, match="has changed meanwhile"):
        resume(again, PLAIN, by="bob")


def test_a_halt_that_came_after_the_look_is_not_resumed_with_it() -> None:
    cursor = halted(HaltReason.BEYOND_END)
    PartitionCursor.objects.filter(pk=cursor.pk).update(halted_reason="another one", halted_because="log_replaced")
    with pytest.raises(ResumeRefused, match="has changed meanwhile"):
        resume(cursor, PLAIN, by="ada")


def test_the_log_says_who_resumed_what() -> None:
    cursor = halted(HaltReason.POISONED_BUILD)
    with capture_logs() as lines:
        resume(cursor, Choice(set_aside=True), by="ada")
    assert lines == [
        {
            "event": "partition.resumed", "log_level": "warning", "partition": str(cursor), "offset": 70,
            "halted_because": "poisoned_build", "accept_log": False, "set_aside": True, "by": "ada",
        }
    ]  # fmt: skip


@pytest.mark.parametrize("because", HaltReason)
def test_every_reason_says_what_will_happen(because: HaltReason) -> None:
    told = outlook(halted(because), choice_for(because))
    assert told != outlook(halted(""), PLAIN)
    assert "{" not in told


def test_what_will_happen_names_record_and_build() -> None:
    assert outlook(halted(HaltReason.POISONED_BUILD), Choice(set_aside=True)).startswith(
        "Record 70 is set aside unread"
    )
    assert outlook(halted(HaltReason.BAD_DEPLOY), PLAIN).startswith("Build 0.2.0+abc is accepted")


def test_the_bridge_hands_out_what_was_resumed() -> None:
    cursor = halted(HaltReason.UNEXPLAINED_DEATHS)
    assert cursors.dispatch(cursor, end=71) is None
    resume(cursor, PLAIN, by="ada")
    cursor.refresh_from_db()
    decision = decide(cursor, end_offset=99, lock_held=False, now=NOW, hard_limit_seconds=60, lock_free_seconds=60)
    assert (decision.action, decision.because) == (Action.DISPATCH, Because.NEW_RECORDS)
    assert cursors.dispatch(cursor, end=99) is not None
