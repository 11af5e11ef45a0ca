"""Anomalies are those of the reference, and rest on the same baselines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from tests.faults.differences import Differences, Invariant
from tests.faults.findings import BASIS, BASIS_DETAILS, VERDICT, Finding, Values, plain
from tests.faults.reference import Reference
from tests.faults.witness import Witness

_SQL = {
    "event_id": "event_id::text",
    "timestamp_us": "(extract(epoch FROM timestamp) * 1000000)::bigint",
}
_ANOMALIES = f"""
    SELECT id::text, {", ".join(_SQL.get(name, name) for name in (*VERDICT, *BASIS))}, details
    FROM detection_anomaly WHERE project_id = %s
"""
_SHIFTS = """
    SELECT c.topic_id, c.partition, s.service, s.model, shift.metric, shift.log_offset, shift.samples,
           shift.mean_before, shift.stddev_before, shift.mean_after, shift.stddev_after
    FROM detection_baselineshift shift JOIN ingestion_series s ON s.id = shift.series_id
    JOIN ingestion_partitioncursor c ON c.id = shift.cursor_id WHERE c.topic = %s
"""


def check(reference: Reference, witness: Witness, found: Differences) -> None:
    expected = reference.findings()
    stored = dict(_stored(witness, reference.setting.project_id))
    found.anomalies = len(expected)
    missing = found.add_all(
        Invariant.VERDICTS_EQUAL, "missing:", (_said(expected[i]) for i in expected.keys() - stored)
    )
    extra = found.add_all(
        Invariant.VERDICTS_EQUAL, "not in the reference:", (_said(stored[i]) for i in stored.keys() - expected)
    )
    differing = _compare(expected, stored, found)
    found.verdicts_differing = missing + extra + differing
    _check_shifts(reference, witness, found)


def _stored(witness: Witness, project_id: int) -> Any:
    for row in witness.stream(_ANOMALIES, project_id):
        values = tuple(map(plain, row[1:-1]))
        basis = values[len(VERDICT) :] + tuple(row[-1][name] for name in BASIS_DETAILS)
        yield UUID(row[0]), Finding(values[: len(VERDICT)], basis)


def _said(finding: Finding) -> str:
    named = dict(zip(VERDICT, finding.verdict, strict=True))
    return f"{named['severity']} {named['metric']} of {named['service']}/{named['model']}@{named['log_offset']}"


def _compare(expected: Mapping[UUID, Finding], stored: Mapping[UUID, Finding], found: Differences) -> int:
    differing = 0
    for found_id in expected.keys() & stored.keys():
        mine, theirs = expected[found_id], stored[found_id]
        if mine == theirs:
            continue
        differing += 1
        if mine.verdict != theirs.verdict:
            found.add(Invariant.VERDICTS_EQUAL, f"{_said(mine)}: {_changes(VERDICT, mine.verdict, theirs.verdict)}")
        if mine.basis != theirs.basis:
            names = (*BASIS, *BASIS_DETAILS)
            found.add(Invariant.BASELINE_BASIS_EQUAL, f"{_said(mine)}: {_changes(names, mine.basis, theirs.basis)}")
    return differing


def _changes(names: tuple[str, ...], mine: Values, theirs: Values) -> str:
    triples = zip(names, mine, theirs, strict=True)
    return ", ".join(f"{name} {got!r}, not {want!r}" for name, want, got in triples if want != got)


def _check_shifts(reference: Reference, witness: Witness, found: Differences) -> None:
    expected = {
        (*key, shift.series[1], shift.series[2], shift.metric, shift.log_offset, shift.samples,
         shift.mean_before, shift.stddev_before, shift.mean_after, shift.stddev_after)
        for key, fold in reference.folds.items()
        for shift in fold.shifts
    }  # fmt: skip
    stored = set(witness.rows(_SHIFTS, reference.topic))
    found.add_all(Invariant.BASELINE_BASIS_EQUAL, "a new level is missing:", expected - stored)
    found.add_all(Invariant.BASELINE_BASIS_EQUAL, "a new level that is none:", stored - expected)
