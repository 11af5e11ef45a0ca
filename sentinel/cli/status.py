"""`sentinel status`: what runs, where, and since when, and which partition does not go on."""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sentinel.partitions_now import Reading
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
    """What the database says of the partitions, or why nobody knows; neither where no database is named."""

    reading: Reading | None = None
    error: str | None = None

    @property
    def asked(self) -> bool:
        return self.reading is not None or self.error is not None

    @property
    def are_well(self) -> bool:
        """Tell whether nothing is wrong with them, as far as was asked."""
        return self.error is None and (self.reading is None or self.reading.is_well)


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
        return Partitions(read_partitions(url))
    except DatabaseAway as error:
        return Partitions(error=str(error))


def _as_json(partitions: Partitions) -> dict[str, Any]:
    from sentinel.cli.partition_lines import as_dict

    found = partitions.reading
    if found is None:
        unknown = dict.fromkeys(("partitions", "missing_days", "scattered_series"))
        return {**unknown, "partitions_error": partitions.error}
    return {
        "partitions": [as_dict(item) for item in found.conditions],
        "partitions_error": None,
        "missing_days": [{"table": item.table, "day": str(item.day)} for item in found.missing_days],
        "scattered_series": [
            {"topic": item.topic, "series": item.series, "example_id": item.example_id} for item in found.scattered
        ],
    }


def _print_partitions(partitions: Partitions) -> None:
    from sentinel.cli.partition_lines import lacking, note, summary, table

    if partitions.error is not None:
        print(f"partitions: unknown, PostgreSQL does not tell: {partitions.error}")
    elif (found := partitions.reading) is not None:
        odd = [item for item in found.conditions if not item.is_fine]
        if odd:
            print(f"\n{table(odd)}")
        print(summary(found.conditions))
        if found.missing_days:
            print(lacking(found.missing_days))
        for item in found.scattered:
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
