"""The alarm on a partition that an open transaction of a producer holds up.

A consumer reads up to the first record of the oldest open transaction and no further, whoever wrote what comes after
it. A producer that hangs in the middle of one (or a coordinator that lost its end) stops a partition without any lag
that a committed end would show.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from ingestion.condition import Runbook
from ingestion.log.base import Log, LogUnavailable
from ingestion.membership import Key
from ingestion.standstill import Standstill

logger = structlog.get_logger(__name__)

# Kafka aborts a transaction after 60 s by default (`transaction.timeout.ms` of its producer).
OPEN_SECONDS = 90.0
LOOK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class HeldUp:
    """Records of [offset, end) of a partition were written and cannot be read; nothing has changed for `seconds`."""

    offset: int
    end: int
    seconds: float
    is_overdue: bool


class OpenTransactions:
    """Call `look` with every reading of the log's ends; one request more every ten seconds."""

    def __init__(
        self,
        log: Log,
        *,
        open_seconds: float = OPEN_SECONDS,
        look_seconds: float = LOOK_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._open_seconds = open_seconds
        self._look_seconds = look_seconds
        self._clock = clock
        self._looked_at = float("-inf")
        self._sights: dict[Key, Standstill] = {}

    def look(self, ends: Mapping[Key, int]) -> Mapping[Key, HeldUp] | None:
        """Return the partitions whose end lies below what was written, and log an error for those overdue.

        None where it is not time to look yet, or the log does not tell.
        """
        now = self._clock()
        if now - self._looked_at < self._look_seconds or not ends:
            return None
        self._looked_at = now
        try:
            written = self._log.written_offsets(list(ends))
        except LogUnavailable:
            return None  # The bridge says so when it asks for the ends.
        held_up = sorted(key for key, end in ends.items() if written.get(key, end) > end)
        self._sights = {key: self._sight(key, ends[key], now=now) for key in held_up}
        return {key: self._found(key, written[key], now=now) for key in held_up}

    def _sight(self, key: Key, end: int, *, now: float) -> Standstill:
        known = self._sights.get(key)
        return known if known is not None and known.offset == end else Standstill(end, now)

    def _found(self, key: Key, written: int, *, now: float) -> HeldUp:
        sight = self._sights[key]
        if sight.is_due(now, after_seconds=self._open_seconds):
            logger.error(
                "partition.transaction_open",
                partition=f"{key[0]}[{key[1]}]",
                offset=sight.offset,
                held_up=written - sight.offset,
                seconds=round(now - sight.since),
                why="a producer has left a transaction open",
                runbook=Runbook.TRANSACTION_OPEN.path,
            )
        is_overdue = sight.has_lasted(now, self._open_seconds)
        return HeldUp(sight.offset, written, now - sight.since, is_overdue)
