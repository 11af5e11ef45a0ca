"""The ends of all partitions, without asking for more than is needed, although some topic may not answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import structlog

from ingestion import metrics
from ingestion.log.base import Log, LogUnavailable
from ingestion.membership import Key

logger = structlog.get_logger(__name__)

# A topic that did not answer costs a request timeout to ask again.
SILENT_TOPIC_SECONDS = 30.0
# So old may be the end of a partition that is at work: what is decided of it meanwhile needs none.
STALE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Ends:
    """The ends as far as they are known, of partitions at work up to a second old, and those `seen` just now."""

    known: Mapping[Key, int]
    seen: Mapping[Key, int]


class EndReader:
    """Asks for all partitions at once; where that fails, topic by topic, and leaves silent ones alone for a while."""

    def __init__(self, log: Log, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._known: Mapping[Key, int] = {}
        self._all_asked_at = float("-inf")
        self._silent_until: dict[str, float] = {}
        self._doubtful: frozenset[str] = frozenset()
        self._missing_said_at = float("-inf")

    def ends(self, partitions: Collection[Key], *, at_work: Collection[Key] = ()) -> Ends:
        """Return the end of every partition that the log tells; raises `LogUnavailable` where it tells none.

        Those `at_work` are asked once a second, the others every time.
        """
        now = self._clock()
        answering = [key for key in partitions if self._silent_until.get(key[0], 0.0) <= now]
        is_due = now - self._all_asked_at >= STALE_SECONDS
        asked = [key for key in answering if is_due or key not in at_work]
        seen = self._ask(asked, answering)
        self._say_missing({key[0] for key in asked if key not in seen})
        if is_due:
            self._all_asked_at = now
        self._known = {**{key: self._known[key] for key in at_work if key in self._known}, **seen}
        if partitions and not self._known:
            raise LogUnavailable("no topic answers")
        return Ends(self._known, seen)

    def _say_missing(self, topics: Collection[str]) -> None:
        """Warn of topics that are gone, or partitions that no broker leads: their ends are left out."""
        if topics and self._clock() - self._missing_said_at >= SILENT_TOPIC_SECONDS:
            self._missing_said_at = self._clock()
            logger.warning("bridge.topic_unavailable", topic=", ".join(sorted(topics)), error="gone, or without leader")

    def _ask(self, asked: Collection[Key], answering: Collection[Key]) -> Mapping[Key, int]:
        if not asked:
            return {}
        try:
            return self._log.end_offsets(asked)
        except LogUnavailable:
            metrics.KAFKA_CONSUMPTION_ERRORS.inc()
            if len({topic for topic, _ in answering}) == 1:
                raise
        # All of them, to tell a topic that is silent from a broker that is away.
        return self._topic_by_topic(answering)

    def _topic_by_topic(self, asked: Collection[Key]) -> Mapping[Key, int]:
        found: dict[Key, int] = {}
        silent: list[str] = []
        # Those that were silent the last time come last: they say least about the broker.
        for topic in sorted({topic for topic, _ in asked}, key=lambda topic: (topic in self._doubtful, topic)):
            try:
                found.update(self._log.end_offsets([key for key in asked if key[0] == topic]))
            except LogUnavailable as error:
                silent.append(topic)
                logger.warning("bridge.topic_unavailable", topic=topic, error=str(error))
            if len(silent) > 1 and not found:
                break  # The broker itself is away: every further topic would cost a timeout.
        self._doubtful = frozenset(silent)
        if not found:
            raise LogUnavailable("no topic answers")
        self._silent_until.update(dict.fromkeys(silent, self._clock() + SILENT_TOPIC_SECONDS))
        return found
