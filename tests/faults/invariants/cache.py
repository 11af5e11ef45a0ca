"""Baselines in Redis, where they stand after the last batch, are those of the reference, byte for byte."""

from __future__ import annotations

import json
from typing import Any

import redis

from detection.fold import BLOCK_OFFSETS, STATE_VERSION
from tests.faults.differences import Differences, Invariant
from tests.faults.reference import Reference
from tests.faults.witness import Witness

FRAME = {"stamp", "next_offset", "checkpoint"}


def check(reference: Reference, witness: Witness, client: redis.Redis, found: Differences, *, installation: str) -> int:
    """Compare the partitions whose stamp is that of their last batch; return how many there are."""
    compared = 0
    for cursor in witness.cursor_rows():
        fold = reference.folds.get(cursor.key)
        key = f"sentinel:{installation}:baselines:v{STATE_VERSION}.{BLOCK_OFFSETS}:{cursor.id}"
        held: dict[str, bytes] = {name.decode(): value for name, value in _hash(client, key).items()}
        last = witness.value("SELECT max(id) FROM ingestion_batch WHERE cursor_id = %s", cursor.id)
        if fold is None or cursor.is_closed or not held or int(held["stamp"]) != last:
            continue
        compared += 1
        expected = {json.dumps(series): state for series, state in fold.state.encode_all().items()}
        stored = {name: state for name, state in held.items() if name not in FRAME}
        name = f"[{cursor.partition}]"
        found.add_all(Invariant.BASELINE_CACHE_EQUAL, f"{name} missing or not known:", expected.keys() ^ stored.keys())
        differing = [series for series in expected.keys() & stored.keys() if expected[series] != stored[series]]
        found.add_all(Invariant.BASELINE_CACHE_EQUAL, f"{name} other baselines:", differing)
    return compared


def _hash(client: redis.Redis, key: str) -> dict[bytes, bytes]:
    found: Any = client.hgetall(key)
    return dict(found)
