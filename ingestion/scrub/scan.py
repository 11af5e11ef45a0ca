"""Find values in many texts: one scan of one buffer for thousands of them, then a check of each hit within its own text."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt

from ingestion.scrub.confirm import Finding, confirm
from ingestion.scrub.engine import Engine, EngineName, Hit, ScanError, build_engine
from ingestion.scrub.rules import Rule

MAX_HITS_PER_TEXT = 2_000
MAX_HITS_PER_SCAN = 20_000
TEXTS_PER_SCAN = 4_096  # some 300 kB, which stay in the processor's cache
_TEXTS_PER_GROUP = 64

Findings = list[Finding] | None
"""Byte offsets within the text, overlapping, in any order; None where the text cannot be scanned."""


class Scanner:
    """The rules, compiled once per thread and process: lazily, so that it may be made before a fork."""

    def __init__(
        self,
        rules: Sequence[Rule],
        engine: EngineName,
        *,
        build: Callable[[EngineName, Sequence[bytes]], Engine] = build_engine,
    ) -> None:
        self._engine_name: EngineName = engine
        self._build = build
        # Indexed by what the engine calls a trigger: the rule, and where in the hit its value starts.
        self._rules = [(rule, trigger.skip) for rule in rules for trigger in rule.triggers]
        self._patterns = [trigger.pattern for rule in rules for trigger in rule.triggers]
        self._local = threading.local()

    def findings(self, texts: Sequence[str]) -> dict[int, Findings]:
        """Return, by index, the findings of the texts that have any. Never raises for any text."""
        found: dict[int, Findings] = {}
        for first in range(0, len(texts), TEXTS_PER_SCAN):
            part = self._part(texts[first : first + TEXTS_PER_SCAN])
            found.update((first + index, findings) for index, findings in part.items())
        return found

    def _part(self, texts: Sequence[str]) -> dict[int, Findings]:
        data = joined(texts)
        try:
            hits = self._engine().hits(data, limit=MAX_HITS_PER_SCAN)
        except ScanError:
            return self._halves(texts)
        if not hits:
            return {}
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == 0)  # text i lies between ends[i] and ends[i + 1]
        if len(ends) != len(texts) + 1:
            # The contract refuses NUL, but a dead letter may hold one.
            return self._part([text.replace("\0", "\1") for text in texts])
        return dict(self._confirmed(data, hits, ends))

    def _engine(self) -> Engine:
        process = os.getpid()
        if getattr(self._local, "process", None) != process:
            self._local.engine = self._build(self._engine_name, self._patterns)
            self._local.process = process
        engine: Engine = self._local.engine
        return engine

    def _halves(self, texts: Sequence[str]) -> dict[int, Findings]:
        """Close in on the texts that the engine refuses, so that one of them does not cost the others theirs."""
        if len(texts) == 1:
            return {0: None}
        middle = len(texts) // 2
        behind = self._part(texts[middle:])
        return self._part(texts[:middle]) | {index + middle: found for index, found in behind.items()}

    def _confirmed(self, data: bytes, hits: list[Hit], ends: npt.NDArray[np.intp]) -> Iterator[tuple[int, Findings]]:
        hits.sort()
        owners = (np.searchsorted(ends, [start for start, _ in hits], side="right") - 1).tolist()
        for index, group in groupby(zip(owners, hits, strict=True), key=lambda pair: pair[0]):
            own_hits = [hit for _, hit in group]
            if len(own_hits) > MAX_HITS_PER_TEXT:
                yield index, None
            elif found := self._own(data, own_hits, low=int(ends[index]) + 1, high=int(ends[index + 1])):
                yield index, found

    def _own(self, data: bytes, hits: list[Hit], *, low: int, high: int) -> list[Finding]:
        """Confirm the hits of the text at the bytes [low, high)."""
        found: list[Finding] = []
        for start, trigger in hits:
            rule, skip = self._rules[trigger]
            finding = confirm(data, start + skip, rule, low=low, high=high)
            if finding is not None:
                found.append(finding.moved(-low))
        return found


def joined(texts: Sequence[str]) -> bytes:
    """Return the texts in UTF-8 with a NUL before, between and behind them.

    Lone surrogates are encoded as if they were characters.
    """
    # Python widens a joined string to its widest character: in small groups one emoji does not widen a whole batch.
    groups = [
        "\0".join(texts[first : first + _TEXTS_PER_GROUP]).encode(errors="surrogatepass")
        for first in range(0, len(texts), _TEXTS_PER_GROUP)
    ]
    return b"\0".join((b"", *groups, b""))
