"""Triggers on google-re2, where hyperscan has no wheel: one automaton finds the next place, a second says which."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from ingestion.scrub.engine import MAX_TRIGGER_BYTES, Hit, TooManyHitsError

_LONGEST_HIT_BYTES = MAX_TRIGGER_BYTES + 8  # and the escape before it
_AUTOMATON_BYTES = 64 * 1024 * 1024  # 8 MB, the default, is too small for a hundred triggers


class Re2Engine:
    """See `ingestion.scrub.engine.Engine`."""

    def __init__(self, triggers: Sequence[bytes]) -> None:
        # Not an import statement: the package has no type hints.
        re2: Any = import_module("re2")
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1  # bytes, as hyperscan sees them
        options.never_capture = True
        options.log_errors = False
        options.max_mem = _AUTOMATON_BYTES
        self._next = re2.compile(b"|".join(b"(?:%b)" % trigger for trigger in triggers), options)
        self._which = re2.Set.MatchSet(options)
        for trigger in triggers:
            self._which.Add(trigger)
        self._which.Compile()

    def hits(self, data: bytes, *, limit: int) -> list[Hit]:
        """See `Engine.hits`."""
        found: list[Hit] = []
        search, which = self._next.search, self._which.Match
        match = search(data)
        while match:
            start = match.start()
            found.extend([(start, trigger) for trigger in which(data[start : start + _LONGEST_HIT_BYTES])])
            if len(found) > limit:
                raise TooManyHitsError(f"more than {limit} hits")
            # One byte on, not behind the match: hyperscan reports overlapping hits too.
            match = search(data, start + 1)
        return found
