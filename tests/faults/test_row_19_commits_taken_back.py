"""Row 19: PostgreSQL crashes with `synchronous_commit=off`: what was committed last is taken back."""

from __future__ import annotations

import time

import pytest

from tests.faults.arena import Arena, Arenas

pytestmark = pytest.mark.fault

CRASHES = 2
UNWRITTEN_SECONDS = 3.0
BOUND_SECONDS = 5.0
# The sequence of ids writes ahead for 32 of them: only of more batches some ids are handed out again.
MANY_BATCHES = {"SENTINEL_BATCH_RECORDS": "40"}

Batches = dict[int, tuple[int, int, int]]


def test_row_19_offsets_and_rows_are_taken_back_together_and_baselines_are_not_believed(arenas: Arenas) -> None:
    with arenas.open(
        row="19", fault="PostgreSQL crashes, synchronous_commit=off", roles=[], environment=MANY_BATCHES
    ) as arena:
        arena.servers.execute_as_superuser(f'ALTER DATABASE "{arena.name}" SET synchronous_commit = off')
        arena.start("bridge")
        arena.start("worker")
        arena.start_load(per_second=800)
        lost, used_again = 0, 0
        for _ in range(CRASHES):
            with arena.fault() as fault:
                before = crash(arena)
                arena.start_server("postgres")
                fault.back()
                arena.wait_until_all_commit()
                after = batches(arena)
                lost += len(before.items() - after.items())
                used_again += len({key for key in before.keys() & after.keys() if before[key] != after[key]})
        rebuilt = arena.lines("worker", "baselines.rebuilt")
        arena.remarks.append(f"{lost} committed batches taken back, {used_again} of their ids given to others")
        figures = arena.finish()
    assert lost
    assert used_again
    assert rebuilt
    assert figures.verdicts_differing == 0
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS * arena.slowness


def crash(arena: Arena) -> Batches:
    """Let nobody write the log of transactions for a while, stop at once, return the batches as they were seen last."""
    postgres = arena.servers.postgres
    writer = next(each for each in postgres.processes() if "walwriter" in " ".join(each.cmdline()))
    writer.suspend()
    time.sleep(UNWRITTEN_SECONDS)
    before = batches(arena)
    writer.kill()
    postgres.stop_at_once()
    return before


def batches(arena: Arena) -> Batches:
    rows = arena.witness.rows("SELECT id, cursor_id, start_offset, end_offset FROM ingestion_batch")
    return {batch_id: (cursor_id, start, end) for batch_id, cursor_id, start, end in rows}
