"""The frame around a stage of the pipeline: how long it takes, and what its errors are about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ingestion import metrics
from ingestion.models.cursor import Phase
from ingestion.reject import SetAsideReason
from sentinel.bisection import SetAside, StageFailed
from sentinel.exhaustion import exhausted
from sentinel.outcome import Outcome, described, is_about_records, outcome_of


@contextmanager
def timed(phase: Phase) -> Iterator[None]:
    """Add how long the block takes to the metric."""
    with metrics.BATCH_SECONDS.labels(phase.value).time():
        yield


@contextmanager
def stage(phase: Phase) -> Iterator[None]:
    """Time the block; raise `StageFailed` for an error that may be the fault of a record, and any other as it is."""
    try:
        with timed(phase):
            yield
    except StageFailed:
        raise
    except Exception as error:
        # Whoever gets no memory at all breaks on any record.
        if is_about_records(error) and not (isinstance(error, MemoryError) and exhausted()):
            raise StageFailed(phase, error) from error
        raise


_REASONS = {Outcome.OUT_OF_MEMORY: SetAsideReason.OUT_OF_MEMORY, Outcome.DATABASE: SetAsideReason.STORAGE_REFUSED}


def set_aside_for(failed: StageFailed) -> SetAside:
    """Return why the record that a stage broke on is set aside: never a word of what it holds."""
    return SetAside(
        _REASONS.get(outcome_of(failed.error), SetAsideReason.STAGE_FAILED),
        failed.phase,
        f"{described(failed.error)} in phase {failed.phase}",
        # The scrubber cannot be trusted with a record that it broke on.
        keeps_payload=failed.phase is not Phase.SCRUB,
    )
