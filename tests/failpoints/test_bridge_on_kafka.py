"""A bridge is killed while it tells its group consumer where to wait for records: the next one sees them nevertheless."""

from __future__ import annotations

import signal
import time
from collections import deque
from pathlib import Path

import pytest

from ingestion.cursor import Dispatch
from ingestion.log.base import NewRecord
from ingestion.log.kafka import KafkaAppender
from ingestion.models import PartitionCursor, Project, Topic
from tests.failpoints.processes import BridgeProcess, Processes
from tests.failpoints.records import event
from tests.services import KafkaBroker

GROUP_SECONDS = 30


def step_until_dead(bridge: BridgeProcess) -> int:
    """Have the bridge watch an empty topic; return the signal that ends it."""
    deadline = time.monotonic() + GROUP_SECONDS
    while "died" not in (answer := bridge.step()):
        assert time.monotonic() < deadline, "the bridge was never assigned its partition"
    return int(answer["died"])


@pytest.mark.slow
def test_a_bridge_killed_before_it_seeks_changes_nothing(
    transactional_db: None, processes: Processes, kafka: KafkaBroker, tmp_path: Path
) -> None:
    topic = kafka.new_topic(prefix="failpoint")
    Topic.objects.create(name=topic, project=Project.objects.create(slug=topic.replace(".", "-"), name=topic))
    queue: deque[Dispatch] = deque()
    request = {"brokers": [kafka.brokers], "group": topic, "directory": tmp_path}
    assert step_until_dead(processes.bridge(queue, armed="before_seek=kill", **request)) == signal.SIGKILL
    appender = KafkaAppender([kafka.brokers], security={}, request_timeout_seconds=10)
    appender.append(topic, [NewRecord(b"key", event(number)) for number in range(3)], timeout_seconds=10)
    appender.close()
    successor, deadline = processes.bridge(queue, **request), time.monotonic() + GROUP_SECONDS
    while not queue:
        assert time.monotonic() < deadline
        assert "stepped" in successor.step()
    processes.end_all()
    (task,) = queue
    assert (task.start, task.end, task.attempt) == (0, 3, 1)
    assert PartitionCursor.objects.get(topic=topic).dispatched_end == 3
    Topic.objects.filter(name=topic).delete()
    PartitionCursor.objects.filter(topic=topic).delete()
