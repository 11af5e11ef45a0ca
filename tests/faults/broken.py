"""Deliberately broken variants of Sentinel, each of which the suite must catch (`test_negative_controls.py`).

`python -m tests.faults.broken VARIANT python -m sentinel.cli.main worker …` runs the command with one promise broken:
each variant is what a reasonable person might have built instead. Nothing of this is in the product.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import django


def _module(name: str) -> Any:
    """Return a module to be patched: what it imports is not its own."""
    return importlib.import_module(name)


def redis_before_commit() -> None:
    """Publish the baselines before COMMIT, and believe whatever Redis holds."""
    from detection import cache
    from detection.baselines import BaselineStore
    from ingestion.batches import BatchStamp

    commit, write, decoded = _module("sentinel.commit"), _module("sentinel.write").write, cache._decoded
    publish, load = BaselineStore.publish, BaselineStore.load

    def write_and_publish(work: Any, position: Any, baselines: BaselineStore) -> Any:
        done = write(work, position, baselines)
        kept = {"previous_stamp": done.previous_stamp, "stamp": done.stamp}
        publish(baselines, done.state, cursor_id=work.cursor.pk, **kept)
        return done

    def load_from_redis(self: BaselineStore, cursor_id: int, *, start: int, last_stamp: BatchStamp | None) -> Any:
        state = load(self, cursor_id, start=start, last_stamp=last_stamp)
        state.next_offset = start
        return state

    def decode_any(fields: Mapping[bytes, bytes], stamp: BatchStamp) -> Any:
        number, attempt, created = map(int, fields[b"stamp"].split(b"."))
        return decoded(fields, BatchStamp(number, attempt, created))

    commit.write = write_and_publish
    BaselineStore.publish = lambda *_, **__: cache.Written.UPDATED  # type: ignore[method-assign]
    BaselineStore.load = load_from_redis  # type: ignore[method-assign]
    cache.BaselineCache._has_stamp = lambda *_, **__: True  # type: ignore[method-assign]
    cache._decoded = decode_any


def offset_in_another_transaction() -> None:
    """Move the cursor in a transaction of its own, beside the one that stores the events."""
    import sentinel.write
    from ingestion import cursor

    pool = ThreadPoolExecutor(max_workers=1)
    advance = sentinel.write._advance
    cursor._LOCK_ROW = cursor._LOCK_ROW.replace("FOR UPDATE NOWAIT", "")
    sentinel.write._advance = lambda *arguments: pool.submit(advance, *arguments).result()


def fold_per_batch() -> None:
    """Learn at the end of every batch instead of at the end of every block of the log."""
    from detection.fold import PartitionState, Rows
    from detection.profile import Profile

    advance = PartitionState.advance

    def advance_and_fold(self: PartitionState, rows: Rows, *, end_offset: int, profile: Profile) -> Any:
        verdicts = advance(self, rows, end_offset=end_offset, profile=profile)
        for series in self._by_slot:
            if series.pending:
                series.fold(profile)
        return verdicts

    PartitionState.advance = advance_and_fold  # type: ignore[method-assign]


def unsorted_insert() -> None:
    """Insert events in the order of the log instead of the order of their identity."""
    from ingestion import store

    def by_offset(batch: Any) -> list[int]:
        first: dict[Any, int] = {}
        for position, item in enumerate(batch.accepted):
            first.setdefault((item.timestamp_us, item.event_id), position)
        return sorted(first.values())

    store._identity_order = by_offset
    store._FROM_STAGING = store._FROM_STAGING.replace("project_id, timestamp, event_id, log_offset", "log_offset")


def strike_on_any_failure() -> None:
    """Hold every failed attempt against its records, as if its worker had been killed; try again at once."""
    from ingestion import cursor
    from ingestion.dispatch import Action, Decision, decide

    bridge = _module("ingestion.bridge")
    cursor.FAILURE_RETRY_MAX_SECONDS = 0.01

    def decide_harshly(row: Any, **known: Any) -> Decision:
        has_failed = row.ended_attempt >= row.attempt and row.last_error.startswith("database")
        if has_failed and row.dispatched_end is not None:
            row.death_signal, row.ended_attempt_seen = 9, row.ended_attempt
            harsh: Decision = _as_if_killed(row, known)
            if harsh.action is not Action.NOTHING:
                return harsh
        return decide(row, **known)

    bridge.decide = decide_harshly


def _as_if_killed(row: Any, known: Mapping[str, Any]) -> Any:
    from copy import copy

    from ingestion.dispatch import decide

    victim = copy(row)
    victim.ended_attempt, victim.started_at, victim.retry_at = row.attempt - 1, row.dispatched_at, None
    return decide(victim, **{**known, "lock_held": False, "lock_free_seconds": 60.0})


VARIANTS: Mapping[str, Callable[[], None]] = {
    variant.__name__: variant
    for variant in (
        redis_before_commit,
        offset_in_another_transaction,
        fold_per_batch,
        unsorted_insert,
        strike_on_any_failure,
    )
}


def main(argv: Sequence[str]) -> int:
    """Break one promise once Django is set up, then run the command."""
    name, *command = argv
    arguments = command[command.index("sentinel.cli.main") + 1 :]
    setup = django.setup
    break_once = functools.cache(VARIANTS[name])  # Celery sets Django up again.

    def setup_broken(*args: Any, **kwargs: Any) -> None:
        setup(*args, **kwargs)
        break_once()

    django.setup = setup_broken

    from sentinel.cli.main import main as run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
