"""A log that hands out records on which a stage breaks: what a bug in that stage would do, without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from ingestion.log.base import Chunk, Header, Record
from ingestion.log.postgres import PostgresLog


class BreakingTime(int):
    """A log time that decoding breaks on."""

    def __mul__(self, other: object) -> NoReturn:
        raise RuntimeError("a text that nobody may see")


class BreakingHeaders(Sequence[Header]):
    """Headers that the scrubbing stage, which looks into them, breaks on."""

    def __init__(self, error: type[Exception]) -> None:
        self._error = error

    def __iter__(self) -> Iterator[Header]:
        raise self._error("a text that nobody may see")

    def __getitem__(self, index: Any) -> Any:
        raise self._error("a text that nobody may see")

    def __len__(self) -> int:
        return 1


def breaks_decoding(record: Record) -> Record:
    return replace(record, timestamp_ms=BreakingTime(record.timestamp_ms))


def breaks_scrubbing(record: Record) -> Record:
    return replace(record, headers=BreakingHeaders(RuntimeError))


def takes_all_memory(record: Record) -> Record:
    return replace(record, headers=BreakingHeaders(MemoryError))


class BrokenLog(PostgresLog):
    """Spoils the records for which `is_bad` holds."""

    def __init__(self, spoil: Callable[[Record], Record], is_bad: Callable[[int], bool]) -> None:
        self._spoil = spoil
        self._is_bad = is_bad
        self.reads = 0

    def read(self, topic: str, partition: int, start: int, end: int, *, max_bytes: int) -> Chunk:
        self.reads += 1
        chunk = super().read(topic, partition, start, end, max_bytes=max_bytes)
        records = [self._spoil(record) if self._is_bad(record.offset) else record for record in chunk.records]
        return replace(chunk, records=records)
