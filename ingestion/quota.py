"""How many rejected records of a project are kept one by one: beyond that a batch keeps one row that counts them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence

from django.db import connection

from ingestion.models import Project
from ingestion.reject import WHOLE_EVENT, Rejected, SetAsideReason

# A flood has rejects in every batch: rows are counted so often, and what this process adds meanwhile is added.
RECOUNT_SECONDS = 5.0

_COUNT = """
    SELECT count(*) FROM (
        SELECT 1 FROM ingestion_deadletter
        WHERE project_id = %s AND created_at > now() - interval '1 hour' AND reason <> %s LIMIT %s
    ) kept
"""


class RejectQuota:
    """Says how many dead letters a project may still keep within the hour; one per worker process."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # project id: (when they were counted, rows of the last hour then and since)
        self._kept: dict[int, tuple[float, int]] = {}

    def take(self, project: Project, wanted: int) -> int:
        """Return how many of `wanted` dead letters may be kept now, and count them as kept.

        What other processes keep is seen within `RECOUNT_SECONDS`, as is what became of failed transactions: the hour's
        sum may go over by what all processes keep in that time. No query where nothing is wanted.
        """
        if not wanted:
            return 0
        counted_at, kept = self._kept.get(project.pk, (float("-inf"), 0))
        now = self._clock()
        if now - counted_at >= RECOUNT_SECONDS:
            counted_at, kept = now, _count(project)
        allowed = max(0, min(wanted, project.dead_letters_per_hour - kept))
        self._kept[project.pk] = (counted_at, kept + allowed)
        return allowed


def _count(project: Project) -> int:
    with connection.cursor() as sql:
        sql.execute(_COUNT, [project.pk, SetAsideReason.OVER_QUOTA.value, project.dead_letters_per_hour])
        return int(sql.fetchone()[0])


def over_quota(project: Project, rejected: Sequence[Rejected]) -> Rejected:
    """Return the verdict of the row that stands for all of `rejected`: how many there are, of which reasons."""
    reasons = Counter(item.reason.value for item in rejected)
    parts = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
    return Rejected(
        SetAsideReason.OVER_QUOTA,
        WHOLE_EVENT,
        f"{len(rejected):,} records beyond {project.dead_letters_per_hour:,} dead letters an hour: {parts}",
    )
