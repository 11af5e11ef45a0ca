"""What must hold after every fault: the reference and the database say the same, and nothing is left behind.

    found = differences(reference, "postgresql://…")
    assert found.holds, found

Each promise is an `Invariant` and a function in `tests.faults.invariants` that looks for breaches of it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from tests.faults.reference import Reference
from tests.faults.witness import Witness

EXAMPLES = 5


class Invariant(enum.StrEnum):
    """The promises, as `faults.md` and `docs/reliability.md` name them."""

    EVERY_RECORD_ONCE = "every_record_once"
    NO_GOOD_RECORD_DEAD_LETTERED = "no_good_record_dead_lettered"
    CHAIN_OF_BATCHES = "chain_of_batches"
    VERDICTS_EQUAL = "verdicts_equal"
    BASELINE_BASIS_EQUAL = "baseline_basis_equal"
    ROLLUPS_RECOUNTED = "rollups_recounted"
    OUTBOX_ONCE = "outbox_once"
    BASELINE_CACHE_EQUAL = "baseline_cache_equal"
    NOT_HALTED = "not_halted"
    NO_DEADLOCK = "no_deadlock"
    NO_LOCK_HELD = "no_lock_held"
    NO_IDLE_TRANSACTION = "no_idle_transaction"
    QUEUE_EMPTY = "queue_empty"
    NO_ORPHAN_PROCESS = "no_orphan_process"


@dataclass(frozen=True, slots=True)
class Breach:
    """An invariant that does not hold: how often, and the first few places."""

    invariant: Invariant
    count: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        more = f" and {self.count - len(self.examples)} more" if self.count > len(self.examples) else ""
        return f"{self.invariant} ({self.count}): {'; '.join(self.examples)}{more}"


@dataclass(slots=True)
class Differences:
    """What was found. `lost`, `doubled` and `verdicts_differing` are counts of records and anomalies."""

    records: int = 0
    events: int = 0
    anomalies: int = 0
    lost: int = 0
    doubled: int = 0
    verdicts_differing: int = 0
    _counts: dict[Invariant, int] = field(default_factory=dict)
    _examples: dict[Invariant, list[str]] = field(default_factory=dict)

    def add(self, invariant: Invariant, *examples: str, count: int = 1) -> None:
        """Note that `invariant` is broken `count` times."""
        self._counts[invariant] = self._counts.get(invariant, 0) + count
        kept = self._examples.setdefault(invariant, [])
        kept += examples[: EXAMPLES - len(kept)]

    def add_all(self, invariant: Invariant, what: str, places: Iterable[object]) -> int:
        """Note a breach at each of `places`; return how many they are."""
        found: Sequence[object] = list(places)
        if found:
            self.add(invariant, *(f"{what} {place}" for place in found[:EXAMPLES]), count=len(found))
        return len(found)

    def merge(self, other: Differences) -> None:
        """Add the breaches that were found elsewhere."""
        for breach in other.breaches:
            self.add(breach.invariant, *breach.examples, count=breach.count)

    @property
    def breaches(self) -> list[Breach]:
        return [
            Breach(name, self._counts[name], tuple(self._examples[name])) for name in Invariant if name in self._counts
        ]

    @property
    def broken(self) -> frozenset[Invariant]:
        """The invariants that do not hold."""
        return frozenset(self._counts)

    @property
    def holds(self) -> bool:
        return not self._counts

    def __str__(self) -> str:
        head = f"{self.records} records, {self.events} events, {self.anomalies} anomalies"
        return "\n".join([head, *map(str, self.breaches)]) if self._counts else f"{head}: everything holds"


def differences(reference: Reference, database_url: str) -> Differences:
    """Compare what the reference has folded with the database; ingestion must have come to its end.

    Decides first who owns the events that came through several partitions. Redis and processes are looked at by
    `invariants.cache` and `invariants.quiet`.
    """
    from tests.faults.invariants import outbox, records, rollups, verdicts
    from tests.faults.invariants.owners import late_places, stored_places

    found = Differences()
    with closing(Witness(database_url, topic=reference.topic)) as witness:
        reference.settle(
            lambda places: stored_places(witness, places),
            lambda places: late_places(witness, places),
        )
        for check in (records.check, verdicts.check, rollups.check, outbox.check):
            check(reference, witness, found)
    found.records, found.events = reference.records, reference.events
    return found
