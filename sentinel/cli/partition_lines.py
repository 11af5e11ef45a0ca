"""How partitions look in a terminal and in JSON, the same in `sentinel status` and `sentinel partitions`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ingestion.condition import Condition, Runbook, State
from ingestion.missing_days import MissingDay, describe_missing
from ingestion.scattered_series import ScatteredSeries
from sentinel.cli.columns import render

HEADER = ("id", "partition", "state", "lag", "next offset", "since (UTC)", "why", "runbook")


def as_dict(condition: Condition) -> dict[str, Any]:
    """Return the JSON of one partition."""
    return {
        "id": condition.cursor_id,
        "partition": condition.name,
        "state": condition.state.value,
        "lag": condition.lag,
        "lag_at": condition.lag_at.isoformat() if condition.lag_at else None,
        "next_offset": condition.next_offset,
        "since": condition.since.isoformat(),
        "stalled_seconds": round(condition.stalled_seconds, 1),
        "why": condition.why,
        "halted_because": condition.halted_because or None,
        "runbook": condition.runbook.path or None,
    }


def table(conditions: Sequence[Condition]) -> str:
    """Return one line for each partition below a header."""
    rows = [
        (
            item.cursor_id,
            item.name,
            item.state.value.replace("_", " "),
            item.lag,
            item.next_offset,
            f"{item.since:%Y-%m-%d %H:%M:%S}",
            item.why,
            item.runbook.path or None,
        )
        for item in conditions
    ]
    return render(HEADER, rows)


def summary(conditions: Sequence[Condition]) -> str:
    """Return all partitions in one line."""
    if not conditions:
        return "no partition is known yet"
    number = f"{len(conditions)} partition" + ("" if len(conditions) == 1 else "s")
    odd = Counter(item.state for item in conditions if not item.is_fine)
    states = ", ".join(f"{odd[state]} {state.replace('_', ' ')}" for state in State if odd[state])
    return f"{number}, {states or 'all up to date'}, lag {sum(item.lag for item in conditions):,}"


def lacking(days: Sequence[MissingDay]) -> str:
    """Return the days that lack a partition in one line, the first few by name."""
    return f"{describe_missing(days)}; {Runbook.DAY_MISSING.path}"


def note(scattered: ScatteredSeries) -> str:
    """Return one line on the series of a topic that arrive through several partitions."""
    return f"note: {scattered}; {Runbook.SERIES_SCATTERED.path}"
