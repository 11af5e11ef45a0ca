"""Triggers on google-re2, where hyperscan has no wheel: one automaton finds the next place, a second says which."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any

from ingestion.scrub.engine import MAX_TRIGGER_BYTES, Hit, TooManyHitsError

_LONGEST_HIT_BYTES = MAX_TRIGGER_BYTES + 8  # and the escape before it
_AUTOMATON_BYTES = 64 * 1024 * 1024  # 8 MB, the default, is too small for a hundred triggers


class Re2Engine:
    """See `ingestion.scrub.engine.Engine`."""

    def __init__(self, triggers: Sequence[bytes]) -> None:
        self._next, self._which = _compiled(tuple(triggers), os.getpid())

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


@lru_cache(maxsize=8)
def _compiled(triggers: tuple[bytes, ...], process: int) -> tuple[Any, Any]:
    """Return what finds the next hit, and what says which triggers match there.

    re2's objects may be shared by threads. Not across a fork, which may catch their locks held.
    """
    # Not an import statement: the package has no type hints.
    re2: Any = import_module("re2")
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # bytes, as hyperscan sees them
    options.never_capture = True
    options.log_errors = False
    options.max_mem = _AUTOMATON_BYTES
    following = re2.compile(b"|".join(b"(?:%b)" % trigger for trigger in triggers), options)
    which = re2.Set.MatchSet(options)
    for trigger in triggers:
        which.Add(trigger)
    which.Compile()
    return following, which
