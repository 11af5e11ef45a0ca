"""What a run of the demo found, as a document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sentinel.demo.generator import InjectedFault
from sentinel.demo.lines import anomaly_document
from sentinel.demo.match import describe
from sentinel.demo.session import Found, Session

SHOWN_ANOMALIES = 100
FIRST_PER_FAULT = 3


@dataclass(frozen=True, slots=True)
class Address:
    """Where to look on; `password` is None where the installation's database is not its own."""

    url: str
    user: str
    password: str | None

    def document(self) -> dict[str, str]:
        """Return the addresses, without the password: documents are kept."""
        return {
            "anomalies": f"{self.url}/api/v1/anomalies",
            "admin": f"{self.url}/admin/",
            "admin_user": self.user,
        }


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds since the command began; None: it did not happen."""

    ready: float
    first_anomaly: float | None
    total: float


def document(session: Session, *, seed: int, address: Address, timing: Timing) -> dict[str, Any]:
    """Return the demo's JSON document; `anomalies` are the first ones, with the first of every fault among them."""
    matched = [item for item in session.found if item.fault is not None]
    per_fault = Counter(item.fault.id for item in matched if item.fault is not None)
    return {
        "seed": seed,
        "seconds_to_ready": round(timing.ready, 2),
        "seconds_to_first_anomaly": None if timing.first_anomaly is None else round(timing.first_anomaly, 2),
        "seconds": round(timing.total, 2),
        "events": {"sent": session.load.sent, **asdict(session.ingested()), "scrubbed": dict(session.scrubbed())},
        "faults": [{**_fault(fault), "anomalies": per_fault[fault.id]} for fault in session.faults],
        "anomalies": [
            {**anomaly_document(item.anomaly), "injected_fault": _fault(item.fault) if item.fault else None}
            for item in _first(session.found)
        ],
        "anomalies_total": len(session.found),
        "matched_anomalies": len(matched),
        "false_anomalies": len(session.found) - len(matched),
        "alerts": _alerts(session),
        "see": address.document(),
    }


def _first(found: Sequence[Found]) -> list[Found]:
    kept: list[Found] = []
    per_fault: Counter[str] = Counter()
    for item in found:
        is_early = len(kept) < SHOWN_ANOMALIES
        if item.fault is not None:
            per_fault[item.fault.id] += 1
        if is_early or (item.fault is not None and per_fault[item.fault.id] <= FIRST_PER_FAULT):
            kept.append(item)
    return kept


def _fault(fault: InjectedFault) -> dict[str, Any]:
    return dict(describe(fault))


def _alerts(session: Session) -> dict[str, Any]:
    receiver = session.receiver
    return {
        "received": len(receiver.alerts),
        "windows": len({alert.key for alert in receiver.alerts}),
        "doubled_windows": [list(key) for key in receiver.doubles],
        "refused": dict(receiver.refused),
        "list": [
            {name: value for name, value in asdict(alert).items() if name != "received_at"} for alert in receiver.alerts
        ],
    }
