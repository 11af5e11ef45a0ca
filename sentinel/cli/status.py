"""`sentinel status`: what runs, where, and since when."""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sentinel.runtime import ProcessRecord, Runtime

NAME = "status"
HELP = "show each process: state, pid, port, restarts, uptime"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Show what `sentinel up` runs. Exit code 0 if everything is ready, else 1."
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    from sentinel.installation import data_directory, running

    record = running()
    if args.json:
        print(json.dumps({"data_directory": str(data_directory()), **_as_dict(record, now=time.time())}))
    elif record is None:
        print(f"nothing runs in {data_directory()}; start it with `sentinel up`")
    else:
        _print_table(record, now=time.time())
    return 0 if record is not None and record.is_ready else 1


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
