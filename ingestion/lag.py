"""How far each partition is behind its log, for people who look: asked rarely, and never waited for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as AnswerTimeout

from django.db import connection

from ingestion.log.base import LogUnavailable
from ingestion.log.configured import open_log
from ingestion.models import PartitionCursor

FRESH_SECONDS = 3.0
TIMEOUT_SECONDS = 2.0

# (cluster id, topic id, topic, partition): what identifies a partition of a log.
Place = tuple[str, str, str, int]
ReadEnds = Callable[[Collection[str]], Mapping[Place, int]]


class LagReader:
    """Records that are not ingested yet, by cursor id. Safe to share between threads.

    A log that does not answer is asked by one thread at a time, and its answer of the last time is shown.
    """

    def __init__(self, read: ReadEnds | None = None, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._read = read or read_ends
        self._timeout_seconds = timeout_seconds
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lag")
        self._lock = threading.Lock()
        self._topics: set[str] = set()
        self._ends: Mapping[Place, int] = {}
        self._pending: Future[Mapping[Place, int]] | None = None
        self._read_at = float("-inf")

    def lag(self, cursor: PartitionCursor) -> int | None:
        """Return the lag of a cursor; None where the log does not answer or has no such partition."""
        end = self._known_ends({cursor.topic}).get(_place(cursor))
        return None if end is None else max(end - cursor.next_offset, 0)

    def _known_ends(self, topics: Collection[str]) -> Mapping[Place, int]:
        with self._lock:
            if time.monotonic() - self._read_at > FRESH_SECONDS or not self._topics.issuperset(topics):
                self._topics |= set(topics)
                self._refresh()
            return self._ends

    def _refresh(self) -> None:
        if self._pending is None:
            self._pending = self._pool.submit(self._read, frozenset(self._topics))
        try:
            self._ends = self._pending.result(timeout=self._timeout_seconds)
            self._pending = None
        except AnswerTimeout:
            pass  # Still under way; the next look takes its answer.
        self._read_at = time.monotonic()


def _place(cursor: PartitionCursor) -> Place:
    return cursor.cluster_id, cursor.topic_id, cursor.topic, cursor.partition


def read_ends(topics: Collection[str]) -> Mapping[Place, int]:
    """Return the end of every partition of the topics; nothing where the log does not answer."""
    log = open_log()
    try:
        partitions = log.partitions(topics)
        ends = log.end_offsets([(item.topic, item.partition) for item in partitions])
    except LogUnavailable:
        return {}
    finally:
        log.close()
        connection.close()  # of this thread
    return {
        (item.cluster_id, item.topic_id, item.topic, item.partition): ends[(item.topic, item.partition)]
        for item in partitions
        if (item.topic, item.partition) in ends
    }
