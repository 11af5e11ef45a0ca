"""Notice a new build that rejects what the one before it took, before its rejects are committed.

A producer's bad deploy must never stop a partition: rejects are what dead letters are for. A worker's must: all that it
rejects is good, and would have to be replayed. So the share of rejects since a build's first batch on a cursor is
compared with the share under the builds before it, and only while the build is new.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection

from ingestion.models import PartitionCursor

# So long a build is new on a cursor, in records; beyond it a jump is the producers' doing.
NEW_BUILD_RECORDS = 20_000
# The builds before it are judged by what they did within so many offsets before this batch.
WINDOW_OFFSETS = 40_000
# Fewer records of the builds before, or fewer rejects, say nothing.
MIN_RECORDS_BEFORE = 50
MIN_REJECTED = 50
# A jump is both: so many points more, and so many times as much.
MIN_POINTS_MORE = 0.10
MIN_TIMES_MORE = 5.0


class BadDeploy(Exception):
    """A new build rejects far more than the one before it."""


@dataclass(frozen=True, slots=True)
class Share:
    """How many of some records were rejected."""

    records: int = 0
    rejected: int = 0

    @property
    def value(self) -> float:
        return self.rejected / self.records if self.records else 0.0

    def __add__(self, other: Share) -> Share:
        return Share(self.records + other.records, self.rejected + other.rejected)

    def __str__(self) -> str:
        return f"{self.value:.1%} ({self.rejected:,} of {self.records:,})"


def is_jump(before: Share, since: Share) -> bool:
    """Tell whether the share `since` a build came is too far above the share `before` it."""
    return (
        before.records >= MIN_RECORDS_BEFORE
        and since.records <= NEW_BUILD_RECORDS
        and since.rejected >= MIN_REJECTED
        and since.value >= before.value + MIN_POINTS_MORE
        and since.value >= before.value * MIN_TIMES_MORE
    )


_SHARES = """
    SELECT worker_build = %s AS is_same, coalesce(sum(end_offset - start_offset - control), 0), coalesce(sum(rejected), 0),
           (array_agg(worker_build ORDER BY start_offset DESC))[1]
    FROM ingestion_batch WHERE cursor_id = %s AND start_offset >= %s GROUP BY 1
"""


class BuildWatch:
    """Holds the rejects of a worker's build against those of the builds before it; one per worker process."""

    def __init__(self, build: str) -> None:
        self._build = build
        self._settled: set[int] = set()

    def check(self, cursor: PartitionCursor, batch: Share) -> None:
        """Raise `BadDeploy` if the batch, which is about to be committed, makes it a jump. One query at most.

        A person who has looked sets the cursor's `accepted_build`.
        """
        if not batch.rejected or cursor.pk in self._settled or cursor.accepted_build == self._build:
            return
        with connection.cursor() as sql:
            sql.execute(_SHARES, [self._build, cursor.pk, cursor.next_offset - WINDOW_OFFSETS])
            rows = {is_same: (Share(int(records), int(rejected)), build) for is_same, records, rejected, build in sql}
        since = rows.get(True, (Share(), ""))[0] + batch
        before, build_before = rows.get(False, (Share(), ""))
        if since.records > NEW_BUILD_RECORDS or not before.records:
            self._settled.add(cursor.pk)
        elif is_jump(before, since):
            raise BadDeploy(f"build {self._build} rejects {since}, build {build_before} before it {before}")
