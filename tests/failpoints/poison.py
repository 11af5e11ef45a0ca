"""Records that kill whoever scrubs them: real events with a header that this log, and no other, takes seriously.

A failpoint knows no records, and no known event kills a worker of ours. So the worker of these tests reads through a
`Log` whose headers act when a stage looks into them. Reading, measuring and hashing such a record is harmless, as it is
with a record that trips a parser.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ingestion.log.base import Chunk, Header, Record
from ingestion.log.postgres import PostgresLog

# Its value names a signal, or is "burn".
MARKER = "test-poison"


class PoisonedLog(PostgresLog):
    """The log in PostgreSQL, its marked records armed."""

    def read(self, topic: str, partition: int, start: int, end: int, *, max_bytes: int) -> Chunk:
        chunk = super().read(topic, partition, start, end, max_bytes=max_bytes)
        return replace(chunk, records=[_armed(record) for record in chunk.records])


def _armed(record: Record) -> Record:
    marks = [value.decode() for name, value in record.headers if name == MARKER]
    return replace(record, headers=_Deadly(marks[0])) if marks else record


class _Deadly(Sequence[Header]):
    """Headers that cannot be looked at."""

    def __init__(self, action: str) -> None:
        self._action = action

    def __iter__(self) -> Iterator[Header]:
        if self._action == "burn":
            while True:
                pow(3, 2_000_000)
        os.kill(os.getpid(), signal.Signals[self._action])
        return iter(())

    def __getitem__(self, index: object) -> Header:  # type: ignore[override]
        raise IndexError(index)

    def __len__(self) -> int:
        return 0
