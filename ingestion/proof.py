"""What a partition's own letters say of the build that its records kill: that it may be the build after all.

Any other partition that moves proves the build (`ingestion.cursor.build_has_proved_itself`). A build that crashes on what
one tenant sends alone would then set all of that aside, unread, record after record.
"""

from __future__ import annotations

from django.db import connection

from ingestion.models import PartitionCursor
from ingestion.reject import SetAsideReason

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
