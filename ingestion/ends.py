"""The ends of all partitions, although some topic may not answer: it must not hold up the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping

import structlog

from ingestion import metrics
from ingestion.log.base import Log, LogUnavailable
from ingestion.membership import Key

logger = structlog.get_logger(__name__)

# A topic that did not answer costs a request timeout to ask again.
SILENT_TOPIC_SECONDS = 30.0


class EndReader:
    """Asks for all partitions at once; where that fails, topic by topic, and leaves silent ones alone for a while."""

    def __init__(self, log: Log, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._silent_until: dict[str, float] = {}
        self._missing_said_at = float("-inf")

    def ends(self, partitions: Collection[Key]) -> Mapping[Key, int]:
        """Return the end of every partition that the log tells; raises `LogUnavailable` where it tells none."""
        asked = [key for key in partitions if self._silent_until.get(key[0], 0.0) <= self._clock()]
        if not asked:
            if partitions:
                raise LogUnavailable("no topic answers")
            return {}
        found = self._ask(asked)
        self._say_missing({key[0] for key in asked if key not in found})
        return found

    def _say_missing(self, topics: Collection[str]) -> None:
        """Warn of topics that are gone, or partitions that no broker leads: their ends are left out."""
        if topics and self._clock() - self._missing_said_at >= SILENT_TOPIC_SECONDS:
            self._missing_said_at = self._clock()
            logger.warning("bridge.topic_unavailable", topic=", ".join(sorted(topics)), error="gone, or without leader")

    def _ask(self, asked: Collection[Key]) -> Mapping[Key, int]:
        try:
            return self._log.end_offsets(asked)
        except LogUnavailable:
            metrics.KAFKA_CONSUMPTION_ERRORS.inc()
            if len({topic for topic, _ in asked}) == 1:
                raise
        return self._topic_by_topic(asked)

    def _topic_by_topic(self, asked: Collection[Key]) -> Mapping[Key, int]:
        found: dict[Key, int] = {}
        silent: list[str] = []
        for topic in sorted({topic for topic, _ in asked}):
            try:
                found.update(self._log.end_offsets([key for key in asked if key[0] == topic]))
            except LogUnavailable as error:
                silent.append(topic)
                logger.warning("bridge.topic_unavailable", topic=topic, error=str(error))
            if silent and not found:
                break  # The broker itself is away: every further topic would cost a timeout.
        if not found:
            raise LogUnavailable("no topic answers")
        self._silent_until.update(dict.fromkeys(silent, self._clock() + SILENT_TOPIC_SECONDS))
        return found
