"""How a worker's process died, as its parent saw it: the proof that a record can kill."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection
from contextlib import closing

from django.db import connection

# The bridge waits two seconds for the report. A killed session keeps its row lock for up to one of them.
CONNECT_SECONDS = 2
LOCK_TIMEOUT_MS = 1_500
STATEMENT_TIMEOUT_MS = 2_000

# Between COMMIT and sending the next range a death leaves an attempt that nobody starts: it is given up, so that the
# bridge need not wait. If it was sent after all, it is refused.
_REPORT = """
    UPDATE ingestion_partitioncursor
    SET death_signal = CASE WHEN started_at IS NULL THEN NULL ELSE %s END,
        ended_attempt = CASE WHEN started_at IS NULL THEN attempt ELSE ended_attempt END
    WHERE worker = %s AND ended_attempt < attempt AND (started_at IS NOT NULL OR dispatches = 1)
"""

# Whatever dies before it begins is not sent at once for ever: from here on the bridge waits, longer each time.
HASTY_DISPATCHES = 5
_GIVE_UP = """
    UPDATE ingestion_partitioncursor SET ended_attempt = attempt
    WHERE id = %s AND attempt = %s AND ended_attempt < attempt AND started_at IS NULL AND dispatches <= %s
"""


def worker_name(*, pid: int | None = None) -> str:
    """Return the name of a process on this host, by default this one: "host:pid", as in `PartitionCursor.worker`."""
    return f"{socket.gethostname()}:{os.getpid() if pid is None else pid}"


def report_death(*, worker: str, signal_number: int, taken: Collection[tuple[int, int]] = ()) -> int:
    """Write into the cursor of the attempt that `worker` was busy with which signal ended it.

    What it had handed over and nobody has started is given up, and so are the attempts it had `taken` (cursor's id,
    attempt) and not begun. Return the number of cursors: 0 when it was idle. Opens a database session of its own and
    closes it. Raises `django.db.Error` where the database cannot be reached or is too slow.
    """
    own = connection.copy()
    options = own.settings_dict["OPTIONS"]
    options["connect_timeout"] = CONNECT_SECONDS
    options["options"] = (
        f"{options.get('options', '')} -c statement_timeout={STATEMENT_TIMEOUT_MS} -c lock_timeout={LOCK_TIMEOUT_MS}"
    )
    with closing(own), own.cursor() as sql:
        sql.execute(_REPORT, [signal_number, worker])
        cursors = sql.rowcount
        for cursor_id, attempt in taken:
            sql.execute(_GIVE_UP, [cursor_id, attempt, HASTY_DISPATCHES])
            cursors += sql.rowcount
        return int(cursors)
