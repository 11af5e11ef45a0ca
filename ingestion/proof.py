"""What tells a record that breaks its worker from a build that would break on any, and from a killer of innocents.

Any other partition that moves proves the build. A build that breaks on what one tenant or one series sends alone would
then set all of that aside, record after record: the partition's own letters say so.
"""

from __future__ import annotations

from datetime import datetime

from django.db import connection

from ingestion.models import PartitionCursor
from ingestion.reject import SetAsideReason

_PROVED = """
    SELECT EXISTS (
        SELECT 1 FROM ingestion_partitioncursor sibling
        CROSS JOIN LATERAL (
            SELECT worker_build, stored FROM ingestion_batch
            WHERE cursor_id = sibling.id ORDER BY start_offset DESC LIMIT 1
        ) last
        WHERE sibling.progressed_at > %s AND last.worker_build = %s AND last.stored > 0
    )
"""


def build_has_proved_itself(cursor: PartitionCursor, *, since: datetime | None = None) -> bool:
    """Tell whether the build that a record breaks has stored events of some other range since: then it is the record.

    `since` is by default when the record's range came under suspicion.
    """
    with connection.cursor() as sql:
        sql.execute(_PROVED, [since or cursor.suspected_at, cursor.build])
        return bool(sql.fetchone()[0])


_INNOCENT = (
    "SELECT EXISTS (SELECT 1 FROM ingestion_partitioncursor WHERE spared_at > now() - make_interval(secs => %s))"
)


def innocents_have_died(*, within_seconds: float) -> bool:
    """Tell whether some worker died lately on records that were ingested afterwards: something else kills as well."""
    with connection.cursor() as sql:
        sql.execute(_INNOCENT, [within_seconds])
        return bool(sql.fetchone()[0])


# More records in a row that a build sets aside, and no event stored between them, make a person look.
MAX_IN_A_ROW = 3
# So do more of its last records: all of one series, or one kind, may be what it breaks on.
MAX_LATELY = 20
LATELY_OFFSETS = 2_000
# A person who sets a record aside has looked, and a quota says nothing about a build.
_BROKEN = [
    SetAsideReason.KILLED_WORKER.value,
    SetAsideReason.STAGE_FAILED.value,
    SetAsideReason.STORAGE_REFUSED.value,
    SetAsideReason.OUT_OF_MEMORY.value,
]

_SET_ASIDE = """
    WITH last AS (
        SELECT coalesce((
            SELECT end_offset FROM ingestion_batch WHERE cursor_id = %(cursor_id)s AND stored > 0
            ORDER BY start_offset DESC LIMIT 1
        ), 0) AS stored_until
    )
    SELECT count(*) FILTER (WHERE letter.log_offset >= stored_until),
        count(*) FILTER (WHERE letter.log_offset >= %(lately)s)
    FROM last CROSS JOIN ingestion_deadletter letter CROSS JOIN LATERAL (
        SELECT worker_build FROM ingestion_batch
        WHERE cursor_id = letter.cursor_id AND start_offset <= letter.log_offset ORDER BY start_offset DESC LIMIT 1
    ) batch
    WHERE letter.cursor_id = %(cursor_id)s AND letter.log_offset >= least(stored_until, %(lately)s)
        AND letter.reason = ANY(%(broken)s) AND batch.worker_build = %(build)s
"""


def too_many_set_aside(cursor: PartitionCursor, *, more: int = 1) -> str | None:
    """Return why the attempt's build may not set `more` records of this partition aside; None where it may."""
    with connection.cursor() as sql:
        lately = cursor.next_offset - LATELY_OFFSETS
        sql.execute(_SET_ASIDE, {"cursor_id": cursor.pk, "build": cursor.build, "lately": lately, "broken": _BROKEN})
        in_a_row, of_late = sql.fetchone()
    if in_a_row + more > MAX_IN_A_ROW:
        return f"{in_a_row} records in a row set aside, none stored between"
    if of_late + more > MAX_LATELY:
        return f"{of_late} of the last {LATELY_OFFSETS:,} records set aside"
    return None
