"""`sentinel status`: what runs, where, and since when, and which partition does not go on."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ingestion.condition import Condition
    from ingestion.missing_days import MissingDay
    from ingestion.scattered_series import ScatteredSeries
    from sentinel.runtime import ProcessRecord, Runtime

NAME = "status"
HELP = "show each process, and the partitions that are stuck or halted"
DESCRIPTION = """\
Show what `sentinel up` runs, and below it the partitions of the log that are not up to date, with the reason and the
page that says what to do. Without `sentinel up` the partitions are those of DATABASE_URL. Lag is in records.
Exit code 1 if a process is not ready, a partition is stuck or halted, a table lacks the partition of a day, or
PostgreSQL does not tell; else 0.
"""


@dataclass(frozen=True, slots=True)
class Partitions:
    """The conditions of the partitions, or why nobody knows them; neither where no database is named."""

    conditions: Sequence[Condition] = ()
    missing_days: Sequence[MissingDay] = ()
    scattered: Sequence[ScatteredSeries] = ()
    error: str | None = None
    asked: bool = False

    @property
    def are_well(self) -> bool:
        """Tell whether none is stuck or halted and no day is missing, as far as was asked."""
        return self.error is None and not self.missing_days and not any(item.is_alarming for item in self.conditions)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    from sentinel.installation import data_directory, running

    record = running()
    partitions = _ask_partitions(record)
    if args.json:
        found = {"data_directory": str(data_directory()), **_as_dict(record, now=time.time()), **_as_json(partitions)}
        print(json.dumps(found))
    else:
        if record is not None:
            _print_table(record, now=time.time())
        elif partitions.asked:
            print(f"no `sentinel up` runs in {data_directory()}; partitions are those of DATABASE_URL")
        else:
            print(f"nothing runs in {data_directory()}; start it with `sentinel up`")
        _print_partitions(partitions)
    processes_are_well = partitions.asked if record is None else record.is_ready
    return 0 if processes_are_well and partitions.are_well else 1


def _ask_partitions(record: Runtime | None) -> Partitions:
    from sentinel.partitions_now import DatabaseAway, read_partitions

    url = os.environ.get("DATABASE_URL") or (record.environment.get("DATABASE_URL") if record else None)
    if not url:
        return Partitions()
    try:
        found = read_partitions(url)
        return Partitions(found.conditions, found.missing_days, found.scattered, asked=True)
    except DatabaseAway as error:
        return Partitions(error=str(error), asked=True)


def _as_json(partitions: Partitions) -> dict[str, Any]:
    from sentinel.cli.partition_lines import as_dict

    known = partitions.asked and partitions.error is None
    return {
        "partitions": [as_dict(item) for item in partitions.conditions] if known else None,
        "partitions_error": partitions.error,
        "missing_days": [{"table": item.table, "day": str(item.day)} for item in partitions.missing_days]
        if known
        else None,
        "scattered_series": [
            {"topic": item.topic, "series": item.series, "example_id": item.example_id} for item in partitions.scattered
        ]
        if known
        else None,
    }


def _print_partitions(partitions: Partitions) -> None:
    from sentinel.cli.partition_lines import lacking, note, summary, table

    if partitions.error is not None:
        print(f"partitions: unknown, PostgreSQL does not tell: {partitions.error}")
    elif partitions.asked:
        odd = [item for item in partitions.conditions if not item.is_fine]
        if odd:
            print(f"\n{table(odd)}")
        print(summary(partitions.conditions))
        if partitions.missing_days:
            print(lacking(partitions.missing_days))
        for item in partitions.scattered:
            print(note(item))


def _as_dict(record: Runtime | None, *, now: float) -> dict[str, Any]:
    if record is None:
        return {"running": False, "ready": False, "url": None, "pid": None, "processes": []}
    return {
        "running": True,
        "ready": record.is_ready,
        "url": record.url,
        "pid": record.pid,
        "uptime_seconds": round(now - record.started_at, 1),
        "processes": [
            {
                "name": process.name,
                "state": process.state,
                "pid": process.pid,
                "port": process.port,
                "url": process.url,
                "restarts": process.restarts,
                "uptime_seconds": _uptime_seconds(process, now=now),
            }
            for process in record.processes
        ],
    }


def _uptime_seconds(process: ProcessRecord, *, now: float) -> float | None:
    return None if process.started_at is None else round(max(0.0, now - process.started_at), 1)


def _print_table(record: Runtime, *, now: float) -> None:
    rows: list[tuple[str, ...]] = [("name", "state", "pid", "port", "restarts", "uptime", "address")]
    rows += [_row(process, now=now) for process in record.processes]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"supervisor pid {record.pid}, {record.url}")


def _row(process: ProcessRecord, *, now: float) -> tuple[str, ...]:
    uptime = _uptime_seconds(process, now=now)
    cells = (
        process.name,
        process.state,
        process.pid,
        process.port,
        process.restarts,
        None if uptime is None else format_seconds(uptime),
        process.url,
    )
    return tuple("-" if cell is None else str(cell) for cell in cells)


def format_seconds(seconds: float) -> str:
    """Return a duration as people write it: 45s, 12m 5s, 3h 2m, 4d 1h."""
    whole = int(seconds)
    days, hours, minutes = whole // 86_400, whole // 3_600 % 24, whole // 60 % 60
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {whole % 60}s" if minutes else f"{whole}s"
