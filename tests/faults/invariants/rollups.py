"""Roll-ups are what a recount of the events gives, to the last digit."""

from __future__ import annotations

from dataclasses import fields

from tests.faults.differences import Differences, Invariant
from tests.faults.recount import Sketches, Sums, Window
from tests.faults.reference import Reference
from tests.faults.witness import Witness

_SUMS = ", ".join(f"r.{each.name}" for each in fields(Sums))
_ROLLUPS = f"""
    SELECT s.service, s.model, extract(epoch FROM r.window_start)::bigint, {_SUMS},
           r.latency_sketch, r.ttft_sketch, r.tokens_sketch, r.cost_sketch
    FROM metric_rollup r JOIN ingestion_series s ON s.id = r.series_id WHERE r.cursor_id = %s
"""


def check(reference: Reference, witness: Witness, found: Differences) -> None:
    for cursor in witness.cursor_rows():
        fold = reference.folds.get(cursor.key)
        if fold is None or cursor.is_closed:
            continue
        expected, name = fold.rollups.total(), f"[{cursor.partition}]"
        stored = dict(map(_row, witness.stream(_ROLLUPS, cursor.id)))
        found.add_all(Invariant.ROLLUPS_RECOUNTED, f"{name} missing:", expected.keys() - stored)
        found.add_all(Invariant.ROLLUPS_RECOUNTED, f"{name} without events:", stored.keys() - expected)
        differing = (key for key in expected.keys() & stored.keys() if expected[key] != stored[key])
        found.add_all(
            Invariant.ROLLUPS_RECOUNTED,
            name,
            (f"{key}: {stored[key][0]}, not {expected[key][0]}" for key in differing),
        )


def _row(row: tuple[object, ...]) -> tuple[Window, tuple[Sums, Sketches]]:
    sums = Sums(*row[3 : 3 + len(fields(Sums))])  # type: ignore[arg-type]
    sketches = tuple(bytes(value or b"") for value in row[3 + len(fields(Sums)) :])  # type: ignore[call-overload]
    return Window(*row[:3]), (sums, sketches)  # type: ignore[arg-type]
