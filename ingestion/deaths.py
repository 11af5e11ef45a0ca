"""How a worker's process died, as its parent saw it: the proof that a record can kill."""

from __future__ import annotations

import os
import socket
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


def worker_name(*, pid: int | None = None) -> str:
    """Return the name of a process on this host, by default this one: "host:pid", as in `PartitionCursor.worker`."""
    return f"{socket.gethostname()}:{os.getpid() if pid is None else pid}"


def report_death(*, worker: str, signal_number: int) -> int:
    """Write into the cursor of the attempt that `worker` was busy with which signal ended it.

    What it had handed over and nobody has started is given up. Return the number of cursors: 0 when it was idle. Opens
    a database session of its own and closes it. Raises `django.db.Error` where the database cannot be reached or is too
    slow.
    """
    own = connection.copy()
    options = own.settings_dict["OPTIONS"]
    options["connect_timeout"] = CONNECT_SECONDS
    options["options"] = (
        f"{options.get('options', '')} -c statement_timeout={STATEMENT_TIMEOUT_MS} -c lock_timeout={LOCK_TIMEOUT_MS}"
    )
    with closing(own), own.cursor() as sql:
        sql.execute(_REPORT, [signal_number, worker])
        return int(sql.rowcount)
