"""One case: a partition with a copy of the log, a real bridge, the ranges that are on their way, and processes to ingest them."""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from django.db import connection

from alerting.models import AlertRule
from ingestion.bridge import Bridge
from ingestion.cursor import Dispatch
from ingestion.log.base import NewRecord
from ingestion.log.postgres import append_now
from ingestion.models import Batch, Gap, InboxPartition, PartitionCursor, Project, Topic
from tests.failpoints.channel import Message
from tests.failpoints.processes import BridgeProcess, Processes, WorkerProcess
from tests.failpoints.roles import new_bridge

DRAIN_SECONDS = 60
_COPY = """
    INSERT INTO inbox (inbox_partition_id, log_offset, appended_at, key, value, headers)
    SELECT %s, log_offset, appended_at, key, value, headers FROM inbox WHERE inbox_partition_id = %s
"""
# The bridge's patience with lost and failed attempts is over.
_AGE = """
    UPDATE ingestion_partitioncursor
    SET dispatched_at = dispatched_at - interval '30 s', started_at = started_at - interval '30 s', retry_at = NULL
    WHERE topic = %s
"""


class Topics:
    """Makes partitions that hold the same records, at the same offsets and log times."""

    def __init__(self, values: Sequence[bytes]) -> None:
        self._template = InboxPartition.objects.create(
            topic=f"template-{uuid.uuid4()}", partition=0, topic_id=uuid.uuid4()
        )
        append_now(self._template.topic, [NewRecord(None, value) for value in values])

    def new(self) -> InboxPartition:
        """Return a partition of a topic of its own, of a project that differs from the others by its name alone."""
        name = f"failpoint-{uuid.uuid4()}"
        project = Project.objects.create(slug=name, name=name, pseudonym_key=b"k" * 32)
        Topic.objects.create(name=name, project=project)
        AlertRule.objects.create(project=project, name="every anomaly", min_severity="low", max_age_seconds=None)
        self._template.refresh_from_db()
        inbox = InboxPartition.objects.create(
            topic=name, partition=0, topic_id=uuid.uuid4(), end_offset=self._template.end_offset
        )
        with connection.cursor() as sql:
            sql.execute(_COPY, [inbox.pk, self._template.pk])
        return inbox


class Bench:
    """A partition and whoever works on it. Benches that share a `queue` may be open side by side."""

    def __init__(
        self, processes: Processes, inbox: InboxPartition, directory: Path, *, queue: deque[Dispatch] | None = None
    ) -> None:
        self.inbox = inbox
        self.queue: deque[Dispatch] = deque() if queue is None else queue
        self.most_strikes = 0
        self._processes = processes
        self._directory = directory

    def close(self) -> None:
        """End what still runs; later bridges no longer see the topic."""
        self._processes.end_all()
        Topic.objects.filter(name=self.inbox.topic).delete()

    # --- processes ---------------------------------------------------------------------------------------------------

    def worker(self, armed: str = "", *, hands_over: bool = True, **request: Any) -> WorkerProcess:
        """Start a worker; unless it `hands_over`, the ranges that it sends are lost."""
        queue = self.queue if hands_over else deque()
        return self._processes.worker(queue, armed=armed, directory=self._directory, **request)

    def bridge(self, armed: str = "", **request: Any) -> BridgeProcess:
        return self._processes.bridge(self.queue, armed=armed, directory=self._directory, **request)

    def hits(self) -> list[str]:
        """Return the points that have acted."""
        path = self._directory / "hits.log"
        return [line.split()[2] for line in path.read_text().splitlines()] if path.exists() else []

    # --- the partition -----------------------------------------------------------------------------------------------

    @property
    def cursor(self) -> PartitionCursor:
        return PartitionCursor.objects.get(topic=self.inbox.topic)

    def batches(self) -> list[tuple[int, int]]:
        """Return the committed ranges."""
        found = Batch.objects.filter(cursor__topic=self.inbox.topic).order_by("start_offset")
        return list(found.values_list("start_offset", "end_offset"))

    def gaps(self) -> list[tuple[int, int]]:
        """Return what was never ingested."""
        found = Gap.objects.filter(cursor__topic=self.inbox.topic).order_by("start_offset")
        return list(found.values_list("start_offset", "end_offset"))

    def age(self) -> None:
        """Let half a minute pass, as far as the cursor knows."""
        with connection.cursor() as sql:
            sql.execute(_AGE, [self.inbox.topic])

    def expire(self, until: int) -> None:
        """Remove the records before offset `until`, as retention does."""
        with connection.cursor() as sql:
            sql.execute("DELETE FROM inbox WHERE inbox_partition_id = %s AND log_offset < %s", [self.inbox.pk, until])
        InboxPartition.objects.filter(pk=self.inbox.pk).update(begin_offset=until)

    # --- ingesting ---------------------------------------------------------------------------------------------------

    def drain(self, worker: WorkerProcess, bridge: BridgeProcess | None = None, *, until: int | None = None) -> Message:
        """Have `worker` ingest what `bridge`, by default one in this process, and the worker itself send.

        Return what the worker said last, at the end of the log, or at `until`, or once the partition halts; earlier if
        one of them raised, stopped or died. Whenever nothing is on its way, half a minute passes.
        """
        step = bridge.step if bridge is not None else _stepping(new_bridge(self.queue.append))
        deadline = time.monotonic() + DRAIN_SECONDS
        answer: Message = {}
        while self.queue or not (self.has_reached(until) or self.is_halted):
            assert time.monotonic() < deadline, (answer, vars(self.cursor))
            if self.queue:
                answer = worker.ingest(self.queue.popleft())
                if "outcome" not in answer:
                    return answer
            elif "stepped" not in (stepped := step()):
                return stepped
            elif not self.queue:
                self.age()
            self.most_strikes = max(self.most_strikes, self._strikes())
        return answer

    def has_reached(self, until: int | None = None) -> bool:
        """Tell whether everything before `until`, by default the end of the log, is ingested."""
        end = self.inbox.end_offset if until is None else until
        return PartitionCursor.objects.filter(topic=self.inbox.topic, next_offset__gte=end).exists()

    @property
    def is_halted(self) -> bool:
        return PartitionCursor.objects.filter(topic=self.inbox.topic).exclude(halted_reason="").exists()

    def _strikes(self) -> int:
        found = PartitionCursor.objects.filter(topic=self.inbox.topic).values_list("strikes", flat=True)
        return found[0] if found else 0


def _stepping(bridge: Bridge) -> Callable[[], Message]:
    return lambda: {"stepped": bridge.step()}
