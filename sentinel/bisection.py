"""The search for a record that a stage breaks on, inside one task: by halves, without a death.

Some record of a range made a stage raise. The first half is tried and committed, then the first half of the rest, and
so on, until one record is left: it is set aside, and the rest of the range goes on as if nothing had been. State
advances on a grid of the log, so that committing in other cuts gives the same verdicts. A range of n records costs at
most log2(n) + 1 tries more than one that breaks on nothing, for each record that is set aside.

What breaks on a record may as well break on every record, be it the build or a table that was altered: the record is
set aside only when others went through the same build since it was suspected, or go through together with it, in the
transaction that sets it aside. Where three in a row break and none goes through, the build is the poison.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ingestion.models.cursor import Phase
from ingestion.reject import SetAsideReason

# Decided outside this search, by the bridge or a person.
CONDEMNED = frozenset({SetAsideReason.KILLED_WORKER, SetAsideReason.BY_PERSON})
UNPROVEN_TO_HALT = 3
# Attempts on the same range, with pauses between them: what the build seems to do may be the machine's doing.
ATTEMPTS_TO_HALT = 3


class PoisonedBuild(Exception):
    """Every record breaks a stage of this build: it would set the whole log aside."""


class Unproven(Exception):
    """A record breaks a stage, but nothing shows yet that it is not the build: wait for other records."""


class StageFailed(Exception):
    """A stage raised `error`, which may be the fault of a record; `phase` says which."""

    def __init__(self, phase: Phase, error: Exception) -> None:
        super().__init__(f"{type(error).__name__} in {phase}")
        self.phase = phase
        self.error = error


@dataclass(frozen=True, slots=True)
class SetAside:
    """Why a record becomes a dead letter although no rule refuses it; `phase` is empty where nobody knows.

    `keeps_payload` is False where the scrubber may be what broke: then nothing of the record is written.
    """

    reason: SetAsideReason
    phase: str
    message: str
    keeps_payload: bool = True


@dataclass(frozen=True, slots=True)
class Part:
    """What the next try takes: the records before `end`, without those that are set aside.

    `needs_proof`: commit only if an event is stored besides.
    """

    end: int
    aside: Mapping[int, SetAside] = field(default_factory=lambda: MappingProxyType({}))
    needs_proof: bool = False


class Bisection:
    """What is known of the range [`start`, `end`). The records set aside are always the first ones that are left."""

    def __init__(self, start: int, end: int, *, condemned: SetAside | None = None) -> None:
        self._end = end
        self._first = start  # the first record that is not set aside
        self._bad_end: int | None = None  # some record of [first, bad_end) breaks a stage
        self._aside: dict[int, SetAside] = {}
        self._proven = False
        self._searched = False
        if condemned is not None:
            self._aside[start] = condemned
            self._first = start + 1

    def next_part(self) -> Part:
        """Return what to try next."""
        if self._bad_end is not None:
            end = self._first + (self._bad_end - self._first + 1) // 2
        elif self._aside and not self._needs_proof:
            end = self._first
        else:
            end = self._end
        return Part(end, dict(self._aside), self._needs_proof)

    @property
    def pending(self) -> int:
        """How many records are to be set aside by the next commit."""
        return len(self._aside)

    @property
    def _needs_proof(self) -> bool:
        """Tell whether a record would be set aside for what may be the build's fault.

        For a worker's three deaths the bridge has asked for proof before it condemned the record.
        """
        return not self._proven and any(item.reason not in CONDEMNED for item in self._aside.values())

    def broke(self, part: Part, because: SetAside, *, is_proven: Callable[[], bool]) -> bool:
        """Learn that a stage broke on `part`; return False where no record can be the reason.

        `is_proven` tells whether the build has stored events elsewhere since; it is asked at most once a record.
        """
        self._searched = True
        suspects = part.end - self._first
        if suspects <= 0:
            return False
        if suspects > 1:
            self._bad_end = part.end
            return True
        self._aside[self._first] = because
        self._first += 1
        self._bad_end = None
        self._proven = self._proven or (self._needs_proof and is_proven())
        return True

    def committed(self, next_offset: int, *, stored: int) -> bool:
        """Learn that everything before `next_offset` is committed; return whether this task should go on."""
        self._aside = {}
        self._first = next_offset
        self._proven = self._proven or stored > 0
        if self._bad_end is not None and next_offset >= self._bad_end:
            self._bad_end = None
        return self._searched and next_offset < self._end

    def check_hope(self, *, attempts: int) -> None:
        """Raise where the records set aside so far cannot be proven to be at fault.

        `attempts` is how often this range was tried. Raises `PoisonedBuild` and `Unproven`.
        """
        if not self._needs_proof:
            return
        last = self._aside[self._first - 1]
        if len(self._aside) >= UNPROVEN_TO_HALT and attempts >= ATTEMPTS_TO_HALT:
            raise PoisonedBuild(
                f"{len(self._aside)} records in a row break a stage, and none goes through: {last.message}"
            )
        if len(self._aside) >= UNPROVEN_TO_HALT or self._first >= self._end:
            raise Unproven(f"no record has gone through this build since: {last.message}")
