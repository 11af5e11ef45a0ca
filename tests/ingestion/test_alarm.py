"""What the bridge says of partitions that do not go on, and which page it names."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone
from structlog.testing import capture_logs

from ingestion import cursor as cursors
from ingestion import gaps
from ingestion.alarm import Alarms
from ingestion.condition import STALLED_SECONDS
from ingestion.models import GapReason, HaltReason, PartitionCursor, Project

pytestmark = pytest.mark.django_db

KEY = ("llm.telemetry", 0)


def add_cursor(**values: Any) -> PartitionCursor:
    """Return a partition that has stood for two minutes and has nine records more."""
    ago = timezone.now() - timedelta(minutes=2)
    row = {"topic": KEY[0], "cluster_id": "c", "topic_id": "t", "log_end": 9, "log_end_at": timezone.now()}
    cursor = PartitionCursor.objects.create(
        project=Project.objects.get(slug="default"), partition=KEY[1], **(row | {"range_since": ago} | values)
    )
    PartitionCursor.objects.filter(pk=cursor.pk).update(progressed_at=ago)
    return PartitionCursor.objects.annotate(db_now=Now()).get(pk=cursor.pk)


def stalled(cursor: PartitionCursor) -> Mapping[str, Any]:
    """Return the one line that the bridge logs of a partition that stands for a minute."""
    now = 0.0
    alarms = Alarms(clock=lambda: now)
    with capture_logs() as lines:
        alarms.look([cursor], {KEY: 9})
        now = STALLED_SECONDS
        alarms.look([cursor], {KEY: 9})
    (line,) = lines
    return line


def test_a_partition_that_stands_says_why_and_names_the_page() -> None:
    cursor = add_cursor(attempt=4, dispatches=7, dispatched_at=timezone.now())
    assert stalled(cursor) == {
        "event": "partition.stalled",
        "log_level": "error",
        "partition": "llm.telemetry[0]",
        "state": "stuck",
        "lag": 9,
        "seconds": 60,
        "why": "no worker takes its task, which was sent 7 times",
        "runbook": "docs/runbooks/waiting-for-workers.md",
    }


def test_a_halted_partition_names_the_page_of_its_halt() -> None:
    line = stalled(add_cursor(halted_because="bad_deploy", halted_reason="40 % are rejected"))
    assert (line["state"], line["why"]) == ("halted", "40 % are rejected")
    assert line["runbook"] == "docs/runbooks/bad-deploy.md"


def test_where_the_row_does_not_tell_what_is_wrong_there_is_a_page_all_the_same() -> None:
    line = stalled(add_cursor())
    assert (line["state"], line["why"]) == ("stuck", "nothing was committed although the log has more")
    assert line["runbook"] == "docs/runbooks/partition-stalled.md"


def test_a_halt_says_why_and_names_its_page() -> None:
    cursor = add_cursor()
    with capture_logs() as lines:
        cursors.halt(cursors.current_attempt(cursor), because=HaltReason.OTHER_CLUSTER, reason="cluster x")
    assert [(line["event"], line["why"], line["runbook"]) for line in lines] == [
        ("partition.halted", "cluster x", "docs/runbooks/other-cluster.md")
    ]


def test_what_is_lost_says_why_and_names_its_page() -> None:
    cursor = add_cursor()
    with capture_logs() as lines:
        gaps.record_gap(cursor, until=5, reason=GapReason.RETENTION)
        cursor.refresh_from_db()
        gaps.close(cursor, log_end=9, reason=GapReason.TOPIC_RECREATED)
    assert [(line["event"], line["why"], line["runbook"]) for line in lines] == [
        ("partition.gap", "The log removed them before they were ingested", "docs/runbooks/gap.md"),
        ("partition.closed", "The topic was deleted and created again", "docs/runbooks/partition-closed.md"),
    ]
