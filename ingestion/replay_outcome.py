"""What became of dead letters that were to be replayed: the answer to whoever asked for it."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ingestion.withheld import WHY_SKIPPED, SkipReason


class Fate(enum.StrEnum):
    """What became of a letter that was to be replayed; all but the first leave it as it was."""

    REPLAYED = "replayed"
    SKIPPED = "skipped"
    UNCONFIRMED = "unconfirmed"
    UNMARKED = "unmarked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The fate of one letter, and in a sentence why it is not replayed.

    A skipped one has a reason. `error` is what the log said, for operators.
    """

    fate: Fate
    why: str = ""
    reason: SkipReason | None = None
    error: str = ""

    @classmethod
    def skipped(cls, reason: SkipReason, why: str | None = None) -> Outcome:
        """Return the outcome of a letter that is not sent."""
        return cls(fate=Fate.SKIPPED, reason=reason, why=WHY_SKIPPED[reason] if why is None else why)


@dataclass(frozen=True, slots=True)
class Replay:
    """What became of each letter, by id."""

    outcomes: Mapping[int, Outcome]

    @property
    def others(self) -> Mapping[int, Outcome]:
        """The letters that were not replayed."""
        return {pk: outcome for pk, outcome in self.outcomes.items() if outcome.fate is not Fate.REPLAYED}

    @property
    def has_failed(self) -> bool:
        """Whether letters are open that another try may replay, because the log or PostgreSQL did not answer."""
        away = {SkipReason.LOG_UNAVAILABLE, SkipReason.DATABASE_UNAVAILABLE}
        return any(item.fate is not Fate.SKIPPED or item.reason in away for item in self.others.values())

    def counts(self) -> Mapping[str, int]:
        """Return the number of letters of each fate, and of each `SkipReason` that occurred."""
        fates = Counter(outcome.fate.value for outcome in self.outcomes.values())
        reasons = Counter(outcome.reason.value for outcome in self.outcomes.values() if outcome.reason)
        return {**{fate.value: fates[fate.value] for fate in Fate}, **reasons}

    def __str__(self) -> str:
        """Say it in one line; what did not occur is left out, but for how many were replayed."""
        counts = self.counts()
        reasons = ", ".join(f"{counts[name]} {name.replace('_', ' ')}" for name in SkipReason if name in counts)
        parts = {
            Fate.REPLAYED: f"{counts[Fate.REPLAYED]} replayed",
            Fate.SKIPPED: f"{counts[Fate.SKIPPED]} skipped ({reasons})",
            Fate.UNCONFIRMED: f"{counts[Fate.UNCONFIRMED]} not confirmed by the log",
            Fate.UNMARKED: f"{counts[Fate.UNMARKED]} appended but not marked",
        }
        return ", ".join(part for fate, part in parts.items() if counts[fate] or fate is Fate.REPLAYED)
