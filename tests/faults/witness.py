"""What the database of an installation says, asked from outside: without Django and its models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import psycopg2

from sentinel.child import wait_until

RECOVERY_TIMEOUT_SECONDS = 60.0
STREAM_ROWS = 5_000


def url_of_connection() -> str:
    """Return the URL of the database that Django's own connection uses: the test database."""
    from django.db import connection

    found = connection.settings_dict
    return f"postgresql://{found['USER']}@/{found['NAME']}?host={quote(str(found['HOST']), safe='')}"


@dataclass(frozen=True, slots=True)
class CursorRow:
    """A partition's cursor."""

    id: int
    topic_id: str
    partition: int
    next_offset: int
    halted_because: str
    is_closed: bool

    @property
    def key(self) -> tuple[str, int]:
        return self.topic_id, self.partition


class Witness:
    """A connection of its own to one database; the partitions of one topic are what is looked at.

    Reconnects after PostgreSQL was away; raises `psycopg2.OperationalError` while it is.
    """

    def __init__(self, url: str, *, topic: str = "llm.telemetry") -> None:
        self.url = url
        self.topic = topic
        self._connection: Any = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _connected(self) -> Any:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg2.connect(
                self.url, application_name="witness", connect_timeout=3, options="-c statement_timeout=120s"
            )
            self._connection.autocommit = True
        return self._connection

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._connected().cursor() as sql:
            sql.execute(query, values or None)
            return list(sql.fetchall())

    def execute(self, statement: str, *values: Any) -> int:
        """Run a statement of one's own transaction; return the number of rows."""
        with self._connected().cursor() as sql:
            sql.execute(statement, values or None)
            return int(sql.rowcount)

    def value(self, query: str, *values: Any) -> Any:
        return self.rows(query, *values)[0][0]

    def stream(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query without holding all of them."""
        connection = psycopg2.connect(self.url, application_name="witness")
        with closing(connection), connection.cursor(name="witness") as sql:
            sql.itersize = STREAM_ROWS
            sql.execute(query, values or None)
            yield from sql

    # --- the topic's partitions --------------------------------------------------------------------------------------

    def cursor_rows(self) -> list[CursorRow]:
        """Return the cursors of the topic's partitions, of every incarnation of the topic."""
        found = self.rows(
            "SELECT id, topic_id, partition, next_offset, halted_because, closed_at IS NOT NULL "
            "FROM ingestion_partitioncursor WHERE topic = %s ORDER BY id",
            self.topic,
        )
        return [CursorRow(*row) for row in found]

    def last_commits(self) -> list[float]:
        """Return for each open partition when its last batch was committed, in seconds since 1970, 0 for never."""
        found = self.rows(
            f"SELECT max({self._committed_at}) FROM ingestion_partitioncursor c "
            "LEFT JOIN ingestion_batch b ON c.id = b.cursor_id "
            "WHERE c.topic = %s AND c.closed_at IS NULL GROUP BY c.id",
            self.topic,
        )
        return [row[0] or 0.0 for row in found]

    @property
    def _committed_at(self) -> str:
        """The time of a batch's COMMIT where the server tracks it, else that of its BEGIN."""
        if not hasattr(self, "_tracked"):
            self._tracked = self.value("SHOW track_commit_timestamp") == "on"
        moment = "coalesce(pg_xact_commit_timestamp(b.xmin), b.created_at)" if self._tracked else "b.created_at"
        return f"extract(epoch FROM {moment})::float8"

    def all_commit_after(self, moment: float, *, partitions: int) -> bool:
        """Tell whether every partition has committed a batch later than `moment`, in seconds since 1970."""
        try:
            commits = self.last_commits()
        except psycopg2.Error:
            return False
        return len(commits) == partitions and min(commits) > moment

    def wait_until_all_commit_after(
        self, moment: float, *, partitions: int, timeout_seconds: float = RECOVERY_TIMEOUT_SECONDS
    ) -> None:
        """Return once every partition has committed a batch later than `moment`, in seconds since 1970."""
        assert wait_until(
            lambda: self.all_commit_after(moment, partitions=partitions),
            timeout_seconds=timeout_seconds,
            poll_seconds=0.05,
        ), self.cursors()

    def seconds_until_all_commit(self, moment: float) -> float:
        """Return how long after `moment` every partition had committed a batch that is later."""
        found = self.rows(
            f"SELECT min({self._committed_at}) FROM ingestion_partitioncursor c "
            f"LEFT JOIN ingestion_batch b ON c.id = b.cursor_id AND {self._committed_at} > %s "
            "WHERE c.topic = %s AND c.closed_at IS NULL GROUP BY c.id",
            moment,
            self.topic,
        )
        return max(float(at) for (at,) in found) - moment

    def longest_standstill(self, *, since: float, until: float) -> float:
        """Return the longest time in which some partition committed nothing, in seconds; the load must not pause."""
        commits: dict[int, list[float]] = {}
        for cursor_id, at in self.rows(
            f"SELECT c.id, {self._committed_at} AS at FROM ingestion_partitioncursor c "
            "LEFT JOIN ingestion_batch b ON b.cursor_id = c.id AND b.created_at >= to_timestamp(%s) - interval '1 min' "
            "WHERE c.topic = %s AND c.closed_at IS NULL ORDER BY 2",
            since,
            self.topic,
        ):
            commits.setdefault(cursor_id, []).append(at or since)
        assert commits, "no partition has a cursor"
        within = ([since, *(at for at in times if since < at < until), until] for times in commits.values())
        return max(map(_longest_gap, within))

    def at_work(self) -> dict[int, tuple[int, int, str]]:
        """Return the processes that work on an attempt: cursor, attempt, phase by pid."""
        found = self.rows(
            "SELECT split_part(worker, ':', 2)::int, id, attempt, phase FROM ingestion_partitioncursor "
            "WHERE started_at IS NOT NULL AND ended_attempt < attempt AND topic = %s",
            self.topic,
        )
        return {pid: (cursor_id, attempt, phase) for pid, cursor_id, attempt, phase in found}

    def cursors(self) -> list[tuple[Any, ...]]:
        """Return the cursors, to say why something does not move."""
        return self.rows(
            "SELECT partition, next_offset, attempt, ended_attempt, dispatches, dispatched_at, started_at, phase, "
            "last_error, halted_reason, now() FROM ingestion_partitioncursor WHERE topic = %s ORDER BY partition",
            self.topic,
        )

    def wait_until_stored(self, count: int, *, timeout_seconds: float) -> None:
        """Return once the cursors' offsets add up to `count`."""
        query = "SELECT coalesce(sum(next_offset), 0) FROM ingestion_partitioncursor WHERE topic = %s"
        assert wait_until(
            lambda: self.value(query, self.topic) >= count, timeout_seconds=timeout_seconds, poll_seconds=0.2
        ), self.cursors()


def _longest_gap(times: Sequence[float]) -> float:
    return max(later - earlier for earlier, later in pairwise(times))
