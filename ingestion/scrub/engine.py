"""Find every place where a trigger matches: the one thing that differs between hyperscan and google-re2."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Literal, Protocol

MAX_TRIGGER_BYTES = 56

EngineName = Literal["hyperscan", "re2"]
Hit = tuple[int, int]
"""Byte offset at which a trigger starts to match, and the trigger's index."""


class ScanError(Exception):
    """The buffer could not be scanned as a whole: scan smaller ones, and never pass on what cannot be scanned."""


class TooManyHitsError(ScanError):
    """More hits than allowed, as hostile texts have; the scan was given up."""


class Engine(Protocol):
    """A compiled set of triggers. Belongs to one thread of one process, as hyperscan's scratch space does."""

    def hits(self, data: bytes, *, limit: int) -> list[Hit]:
        """Return every (offset, trigger index) at which a trigger matches, overlapping ones too, in any order.

        Triggers have a fixed width, so the result does not depend on the engine. Raises `ScanError` where the engine
        fails, `TooManyHitsError` beyond `limit` hits.
        """
        ...


def default_engine() -> EngineName:
    """Return hyperscan where its wheel is installed, else re2."""
    return "hyperscan" if importlib.util.find_spec("hyperscan") else "re2"


def build_engine(name: EngineName, triggers: Sequence[bytes]) -> Engine:
    """Compile the triggers: 0.2 s for the first thread of a process, little for others. Raises the engine's own error for a pattern that it refuses."""
    # Imported here because either library may be absent.
    if name == "hyperscan":
        from ingestion.scrub.engine_hyperscan import HyperscanEngine

        return HyperscanEngine(triggers)
    from ingestion.scrub.engine_re2 import Re2Engine

    return Re2Engine(triggers)
