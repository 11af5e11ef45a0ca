"""A project keeps so many dead letters an hour; a process does not count rows for every batch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ingestion.models import DeadLetter, PartitionCursor, Project
from ingestion.quota import RECOUNT_SECONDS, RejectQuota, over_quota
from ingestion.reject import WHOLE_EVENT, Rejected, RejectReason

pytestmark = pytest.mark.django_db


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def project() -> Project:
    return Project.objects.create(slug="quota", name="quota", dead_letters_per_hour=10)


def keep(project: Project, count: int, *, reason: str = "not_json", age: timedelta = timedelta(0)) -> None:
    cursor, _ = PartitionCursor.objects.get_or_create(
        project=project, cluster_id="c", topic_id="t", topic="quota", partition=0
    )
    first = DeadLetter.objects.count()
    now = datetime.now(UTC)
    for offset in range(first, first + count):
        DeadLetter.objects.create(
            project=project, cursor=cursor, log_offset=offset, log_time=now, stage="decode", reason=reason,
            size_bytes=1, sha256=b"", created_at=now - age,
        )  # fmt: skip


def test_the_first_ones_are_kept_and_no_more(project: Project) -> None:
    quota = RejectQuota()
    assert [quota.take(project, 4) for _ in range(4)] == [4, 4, 2, 0]


def test_what_others_keep_is_seen_after_a_while(project: Project) -> None:
    clock = Clock()
    quota = RejectQuota(clock=clock)
    assert quota.take(project, 1) == 1
    keep(project, 8)
    clock.now += RECOUNT_SECONDS
    assert quota.take(project, 9) == 2


def test_letters_of_the_hour_before_do_not_count(project: Project) -> None:
    keep(project, 10, age=timedelta(minutes=61))
    assert RejectQuota().take(project, 5) == 5


def test_rows_that_only_count_do_not_count(project: Project) -> None:
    keep(project, 10, reason="over_quota")
    assert RejectQuota().take(project, 5) == 5


def test_a_failed_transaction_gives_its_letters_back(project: Project) -> None:
    clock = Clock()
    quota = RejectQuota(clock=clock)
    assert quota.take(project, 10) == 10
    clock.now += RECOUNT_SECONDS
    assert quota.take(project, 10) == 10


def test_nothing_is_asked_where_nothing_is_rejected(project: Project, django_assert_num_queries: object) -> None:
    with django_assert_num_queries(0):  # type: ignore[operator]
        assert RejectQuota().take(project, 0) == 0


def test_the_counting_row_says_how_many_and_why(project: Project) -> None:
    verdicts = [Rejected(RejectReason.NOT_JSON, WHOLE_EVENT, "text")] * 2_000
    verdicts.append(Rejected(RejectReason.TOO_DEEP, "metadata", "text"))
    row = over_quota(project, verdicts)
    assert row.reason == "over_quota"
    assert row.message == "2,001 records beyond 10 dead letters an hour: 2,000 not_json, 1 too_deep"
