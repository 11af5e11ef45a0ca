"""What a row of the matrix has shown: written as JSON lines where SENTINEL_FAULTS_REPORT names a directory."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

VARIABLE = "SENTINEL_FAULTS_REPORT"
FILE_NAME = "figures.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One row. Recovery is from the moment the service is back, the standstill from the fault; both in seconds.

    None where nothing was measured, such as a row in which nothing has to recover.
    """

    row: str
    fault: str
    records: int
    events: int
    anomalies: int
    faults: int
    standstill_p50_seconds: float | None
    standstill_max_seconds: float | None
    recovery_p50_seconds: float | None
    recovery_max_seconds: float | None
    lost: int
    doubled: int
    verdicts_differing: int
    broken: Sequence[str] = ()
    remarks: str = ""
    seed: int = 0
    seconds: float = 0.0
    measured_on: str = ""
    machine: str = ""


def this_machine() -> str:
    """Return what the figures were measured on, such as "2 cores and 24 GiB"."""
    return f"{len(os.sched_getaffinity(0))} cores and {round(psutil.virtual_memory().total / 2**30)} GiB"


def median_and_max(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return both, None where there are no values."""
    return (statistics.median(values), max(values)) if values else (None, None)


# Of the test that runs.
PENDING: list[Figures] = []


def write_pending(*, passed: bool) -> None:
    """Write the figures of a test that has passed; those of one that has not prove nothing."""
    for figures in PENDING:
        if passed:
            write(figures)
    PENDING.clear()


def write(figures: Figures) -> None:
    """Append the row to the report, if one is wanted; a later row of the same name replaces it when rendered."""
    directory = os.environ.get(VARIABLE)
    if directory:
        path = Path(directory)
        path.mkdir(parents=True, exist_ok=True)
        with (path / FILE_NAME).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(figures)) + "\n")


def read(directory: Path) -> list[Figures]:
    """Return the last figures of every row."""
    rows: dict[str, Figures] = {}
    for line in (directory / FILE_NAME).read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        found = Figures(**{**fields, "broken": tuple(fields["broken"])})
        rows[found.row] = found
    return list(rows.values())
