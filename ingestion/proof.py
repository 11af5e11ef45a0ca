"""What tells a record that breaks its worker from a build that would break on any, and from a killer of innocents.

Any other partition that moves proves the build. A build that crashes on what one tenant sends alone would then set all of
that aside, unread, record after record: the partition's own letters say so.
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


# So many records in a row that kill their worker, and no event stored between them, make a person look.
IN_A_ROW_TO_HALT = 3

# A record that is set aside unread is alone in its batch.
_IN_A_ROW = """
    SELECT count(*) FROM ingestion_deadletter letter
    JOIN ingestion_batch batch ON batch.cursor_id = letter.cursor_id AND batch.start_offset = letter.log_offset
    WHERE letter.cursor_id = %(cursor_id)s AND letter.reason = %(reason)s AND batch.worker_build = %(build)s
      AND letter.log_offset >= coalesce((
          SELECT end_offset FROM ingestion_batch WHERE cursor_id = %(cursor_id)s AND stored > 0
          ORDER BY start_offset DESC LIMIT 1
      ), 0)
"""


def killers_in_a_row(cursor: PartitionCursor) -> int:
    """Return how many records the attempt's build has set aside unread since the partition last stored an event."""
    with connection.cursor() as sql:
        reason = SetAsideReason.KILLED_WORKER.value
        sql.execute(_IN_A_ROW, {"cursor_id": cursor.pk, "reason": reason, "build": cursor.build})
        return int(sql.fetchone()[0])
