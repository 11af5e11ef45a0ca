"""A time limit for PostgreSQL's answers, kept on this side of the connection.

`statement_timeout` is kept by the server. Where its process stands still, or the connection is half open while something
in between still acknowledges, no answer ever comes, and psycopg2 waits for ever. For processes of one thread that send
no COPY, which psycopg2 refuses in this mode; a worker has the time limit of its task instead.
"""

from __future__ import annotations

import select
import time
from functools import partial
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, set_wait_callback


def limit_answers(*, seconds: float) -> None:
    """Let every statement and every connect of this process fail that is not answered in time.

    They raise `OperationalError`, and the connection is closed.
    """
    set_wait_callback(partial(_wait, seconds=seconds))


def _wait(connection: Any, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while (state := connection.poll()) != POLL_OK:
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1_000):
            raise psycopg2.OperationalError(f"PostgreSQL has not answered for {seconds:g} s")
