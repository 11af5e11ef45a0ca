"""Claims on dead letters: session locks that keep a letter from being replayed twice at the same time.

Row locks would need a transaction that stays open while the log is written to, for longer than sessions may idle in one.
A process that dies loses its claims with its connection.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from django.db import InterfaceError, OperationalError, connection

# First key of the two-key advisory locks; the second is the letter's id, of which such a key holds 31 bits: two letters
# that far apart exclude each other for a moment, and lose nothing.
LOCK_CLASS = 0x53454E52

_CLAIM = "SELECT id FROM unnest(%s::bigint[]) AS id WHERE pg_try_advisory_lock(%s, (id & 2147483647)::int)"
_RELEASE = "SELECT pg_advisory_unlock(%s, (id & 2147483647)::int) FROM unnest(%s::bigint[]) AS id"


@contextmanager
def claimed(letter_ids: Collection[int]) -> Iterator[frozenset[int]]:
    """Claim those of the letters that nobody else has claimed, and yield their ids; never waits.

    What is read of a letter before it is claimed may be out of date.
    """
    with connection.cursor() as sql:
        sql.execute(_CLAIM, [list(letter_ids), LOCK_CLASS])
        held = frozenset(pk for (pk,) in sql.fetchall())
    session = connection.connection
    try:
        yield held
    finally:
        # A session that was lost meanwhile took the claims with it.
        if held and connection.connection is session and not session.closed:
            _release(held)


def _release(letter_ids: Collection[int]) -> None:
    try:
        with connection.cursor() as sql:
            sql.execute(_RELEASE, [LOCK_CLASS, list(letter_ids)])
    except (OperationalError, InterfaceError):
        connection.close()
