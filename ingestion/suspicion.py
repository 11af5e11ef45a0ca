"""Which record kills its worker: found by halving the range, set aside only with proof.

A suspicion says that some record of [`next_offset`, `suspect_end`) kills its worker. After the first death the same
range is tried once more, then its first half, and so on: if that commits, the culprit lies in the rest. The record that
is left alone must kill its worker three times, by a signal that a record can cause, before it may be set aside.
A range of 3,000 records costs at most sixteen workers.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass

from ingestion.models import PartitionCursor
from ingestion.models.cursor import Phase

# What a record can cause: a crash in C, memory or CPU beyond the limit. Nobody sends these to stop a worker.
STRIKING_SIGNALS = frozenset(
    {
        signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGXCPU, signal.SIGKILL,
    }
)  # fmt: skip
# What a worker's parent reports of a process that it ended at the hard time limit.
TIMED_OUT = signal.SIGALRM
# Where the time that is over may have been the record's; elsewhere Kafka or PostgreSQL have taken it. No more than
# that: the phase lags behind the work, and who waits for PostgreSQL after a stage still shows it. What a record burns
# of the CPU ends its worker by SIGXCPU.
COMPUTING = frozenset({Phase.DECODE.value, Phase.SCRUB.value})
STRIKES_TO_SET_ASIDE = 3
# SIGKILL is what the OOM killer sends to whom it likes. Where workers die on innocent records too, it proves nothing:
# so many on one record make a person look.
DOUBTFUL_SIGNALS = frozenset({signal.SIGKILL})
DOUBTFUL_STRIKES_TO_HALT = 8
INNOCENCE_SECONDS = 600.0
# Deaths that prove nothing, because nobody saw their cause (a host or a whole process tree was lost), or time ran out.
UNSEEN_DEATHS_TO_HALT = 5


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What is held against the records before `suspect_end`; the fields are those of `PartitionCursor`."""

    suspect_end: int | None = None
    strikes: int = 0
    lone_strikes: int = 0
    lone_doubts: int = 0
    lone_deaths: int = 0
    build: str = ""

    @classmethod
    def of(cls, cursor: PartitionCursor) -> Suspicion:
        return cls(
            suspect_end=cursor.suspect_end,
            strikes=cursor.strikes,
            lone_strikes=cursor.lone_strikes,
            lone_doubts=cursor.lone_doubts,
            lone_deaths=cursor.lone_deaths,
            build=cursor.suspected_build,
        )

    @property
    def may_set_aside(self) -> bool:
        """Tell whether the record alone has killed often enough; the build must still prove itself elsewhere."""
        return self.lone_strikes >= STRIKES_TO_SET_ASIDE

    @property
    def is_beyond_doubt(self) -> bool:
        """Tell whether that holds without the deaths that say little where workers die on innocent records, too."""
        return self.lone_strikes - self.lone_doubts >= STRIKES_TO_SET_ASIDE

    @property
    def is_doubtful(self) -> bool:
        """Tell whether deaths that include doubtful ones are so many that a person has to look."""
        return self.lone_strikes >= DOUBTFUL_STRIKES_TO_HALT

    @property
    def kills_unread(self) -> bool:
        """Tell whether setting the record aside, which does not even decode it, kills as well: it is not the record."""
        return self.lone_strikes >= 2 * STRIKES_TO_SET_ASIDE

    @property
    def is_hopeless(self) -> bool:
        """Tell whether a person has to look: the record alone goes with deaths that nobody can explain."""
        return self.lone_deaths >= UNSEEN_DEATHS_TO_HALT


def is_harmless(cursor: PartitionCursor) -> bool:
    """Tell whether the attempt's process ended in a way that says nothing about its records, such as SIGTERM."""
    if cursor.death_signal == TIMED_OUT:
        return cursor.phase not in COMPUTING
    return cursor.death_signal is not None and not is_striking(cursor)


def is_striking(cursor: PartitionCursor) -> bool:
    """Tell whether the attempt's process ended in a way that a record can cause."""
    return cursor.death_signal in STRIKING_SIGNALS


def after_death(cursor: PartitionCursor) -> Suspicion:
    """Return the suspicion after the current attempt died of `death_signal`; None is a cause that nobody saw."""
    assert cursor.dispatched_end is not None
    known = Suspicion.of(cursor)
    if known.build != cursor.build:
        known = Suspicion(build=cursor.build)  # Another build is tried from the start.
    alone = cursor.dispatched_end - cursor.next_offset == 1
    seen = is_striking(cursor)
    return Suspicion(
        suspect_end=cursor.dispatched_end,
        strikes=known.strikes + 1,
        lone_strikes=known.lone_strikes + (alone and seen),
        lone_doubts=known.lone_doubts + (alone and seen and cursor.death_signal in DOUBTFUL_SIGNALS),
        lone_deaths=known.lone_deaths + (alone and not seen),
        build=known.build,
    )


def describe_death(cursor: PartitionCursor) -> str:
    """Say how the current attempt died, and in which phase if that is known, such as "SIGSEGV in scrub"."""
    cause = "an unknown cause" if cursor.death_signal is None else signal.Signals(cursor.death_signal).name
    return f"{cause} in {cursor.phase}" if cursor.phase else cause


def range_end(*, next_offset: int, log_end: int, batch_records: int, suspicion: Suspicion) -> int:
    """Return where the next range from `next_offset` ends."""
    suspect_end = suspicion.suspect_end
    if suspect_end is None or suspect_end <= next_offset:
        return min(log_end, next_offset + batch_records)
    if suspicion.strikes == 1:
        return suspect_end
    return next_offset + (suspect_end - next_offset + 1) // 2
