"""What the database of an installation says, asked from outside: without Django and its models."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import psycopg2

from sentinel.child import wait_until

RECOVERY_TIMEOUT_SECONDS = 60.0


class Witness:
    """A connection of its own to one database; the default topic's partitions are what is looked at."""

    def __init__(self, url: str, *, topic: str = "llm.telemetry") -> None:
        self._connection = psycopg2.connect(url)
        self._connection.autocommit = True
        self._topic = topic

    def close(self) -> None:
        self._connection.close()

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as sql:
            sql.execute(query, values or None)
            return list(sql.fetchall())

    def execute(self, statement: str) -> None:
        with self._connection.cursor() as sql:
            sql.execute(statement)

    def value(self, query: str, *values: Any) -> Any:
        return self.rows(query, *values)[0][0]

    def last_commits(self) -> list[float]:
        """Return for each partition when its last batch was committed, in seconds since 1970."""
        found = self.rows(
            "SELECT extract(epoch FROM max(b.created_at))::float8 FROM ingestion_batch b "
            "JOIN ingestion_partitioncursor c ON c.id = b.cursor_id WHERE c.topic = %s GROUP BY c.id",
            self._topic,
        )
        return [row[0] for row in found]

    def wait_until_all_commit_after(self, moment: float, *, partitions: int) -> None:
        """Return once every partition has committed a batch later than `moment`, in seconds since 1970."""

        def all_moved() -> bool:
            commits = self.last_commits()
            return len(commits) == partitions and min(commits) > moment

        assert wait_until(all_moved, timeout_seconds=RECOVERY_TIMEOUT_SECONDS, poll_seconds=0.1), self.cursors()

    def longest_standstill(self, *, since: float, until: float) -> float:
        """Return the longest time in which some partition committed nothing, in seconds; the load must not pause."""
        commits: dict[int, list[float]] = {}
        for cursor_id, at in self.rows(
            "SELECT c.id, extract(epoch FROM b.created_at)::float8 FROM ingestion_partitioncursor c "
            "JOIN ingestion_batch b ON b.cursor_id = c.id "
            "WHERE c.topic = %s AND b.created_at BETWEEN to_timestamp(%s) AND to_timestamp(%s) ORDER BY b.created_at",
            self._topic,
            since,
            until,
        ):
            commits.setdefault(cursor_id, []).append(at)
        assert commits, "nothing was committed at all"
        return max(_longest_gap([since, *times]) for times in commits.values())

    def attempts(self) -> dict[int, tuple[int, str]]:
        """Return the attempts at work: cursor, attempt, phase."""
        found = self.rows(
            "SELECT id, attempt, phase FROM ingestion_partitioncursor WHERE started_at IS NOT NULL "
            "AND ended_attempt < attempt AND topic = %s",
            self._topic,
        )
        return {cursor_id: (attempt, phase) for cursor_id, attempt, phase in found}

    def cursors(self) -> list[tuple[Any, ...]]:
        """Return the cursors, to say why something does not move."""
        return self.rows(
            "SELECT partition, next_offset, attempt, ended_attempt, dispatches, dispatched_at, started_at, phase, "
            "last_error, halted_reason, now() FROM ingestion_partitioncursor WHERE topic = %s ORDER BY partition",
            self._topic,
        )

    def wait_until_stored(self, count: int, *, timeout_seconds: float) -> None:
        """Return once the cursors' offsets add up to `count`."""
        query = "SELECT sum(next_offset) FROM ingestion_partitioncursor WHERE topic = %s"
        assert wait_until(
            lambda: self.value(query, self._topic) >= count, timeout_seconds=timeout_seconds, poll_seconds=0.2
        ), self.cursors()


def _longest_gap(times: Sequence[float]) -> float:
    return max((later - earlier for earlier, later in pairwise(times)), default=0.0)
