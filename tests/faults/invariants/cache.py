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
        if fold is None or cursor.is_closed or not held or held["stamp"].decode() != _last_stamp(witness, cursor.id):
            continue
        compared += 1
        expected = {json.dumps(series): state for series, state in fold.state.encode_all().items()}
        stored = {name: state for name, state in held.items() if name not in FRAME}
        name = f"[{cursor.partition}]"
        found.add_all(Invariant.BASELINE_CACHE_EQUAL, f"{name} missing or not known:", expected.keys() ^ stored.keys())
        differing = [series for series in expected.keys() & stored.keys() if expected[series] != stored[series]]
        found.add_all(Invariant.BASELINE_CACHE_EQUAL, f"{name} other baselines:", differing)
    return compared


def _last_stamp(witness: Witness, cursor_id: int) -> str:
    found = witness.rows(
        "SELECT id, attempt, (extract(epoch FROM created_at) * 1000000)::bigint FROM ingestion_batch "
        "WHERE cursor_id = %s ORDER BY start_offset DESC LIMIT 1",
        cursor_id,
    )
    return ".".join(map(str, found[0])) if found else ""


def _hash(client: redis.Redis, key: str) -> dict[bytes, bytes]:
    found: Any = client.hgetall(key)
    return dict(found)
