"""Every anomaly that a rule asks for has its one entry in the outbox, and no window goes without its alert.

Which entry of a window is sent depends on the order of commits and claims, and is left open (`tests.faults.reference`).
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from tests.faults.differences import Differences, Invariant
from tests.faults.findings import Alert
from tests.faults.reference import Reference
from tests.faults.witness import Witness

_ENTRIES = """
    SELECT id::text, rule_id, service, model, anomaly_type, window_start, severity, anomaly_id::text, status,
           suppression_reason
    FROM alerting_outboxentry WHERE project_id = %s AND NOT test
"""


def check(reference: Reference, witness: Witness, found: Differences) -> None:
    expected = reference.alerts()
    stored = {UUID(row[0]): row[1:] for row in witness.rows(_ENTRIES, reference.setting.project_id)}
    found.lost += found.add_all(
        Invariant.OUTBOX_ONCE, "missing:", (expected[i].window for i in expected.keys() - stored)
    )
    found.doubled += found.add_all(
        Invariant.OUTBOX_ONCE, "for no anomaly:", (stored[i] for i in stored.keys() - expected)
    )
    until = datetime.now(UTC)
    windows: dict[Any, list[tuple[Alert, str, str]]] = defaultdict(list)
    for entry in expected.keys() & stored.keys():
        alert, row = expected[entry], stored[entry]
        if (*alert.window, alert.severity, str(alert.anomaly_id)) != row[:7]:
            found.add(Invariant.OUTBOX_ONCE, f"{row[:7]}, not {alert.window} {alert.severity}")
        _check_age(alert, reason=row[8], until=until, found=found)
        windows[alert.window].append((alert, row[7], row[8]))
    for window, entries in windows.items():
        _check_window(window, entries, until=until, found=found)


def _check_age(alert: Alert, *, reason: str, until: datetime, found: Differences) -> None:
    is_stale = alert.is_stale(until=until)
    if is_stale is not None and is_stale != (reason == "stale"):
        found.add(Invariant.OUTBOX_ONCE, f"{alert.window} suppressed as {reason!r}, but stale is {is_stale}")


def _check_window(
    window: object, entries: list[tuple[Alert, str, str]], *, until: datetime, found: Differences
) -> None:
    fresh = [alert for alert, _, _ in entries if alert.is_stale(until=until) is False]
    if fresh and all(status == "suppressed" for _, status, _ in entries):
        found.add(Invariant.OUTBOX_ONCE, f"nobody is told of {window}")
    delivered = sum(status == "delivered" for _, status, _ in entries)
    if delivered > 1:
        found.doubled += delivered - 1
        found.add(Invariant.OUTBOX_ONCE, f"{delivered} alerts of {window}")
