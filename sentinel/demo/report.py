"""What a run of the demo found: as a document and as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sentinel.demo.generator import InjectedFault
from sentinel.demo.lines import SEVERITY_STYLES, anomaly_document, clock
from sentinel.demo.match import describe
from sentinel.demo.receiver import Delivery
from sentinel.demo.session import Found, Session

SHOWN_ANOMALIES = 100
SHOWN_PER_FAULT = 3


@dataclass(frozen=True, slots=True)
class Address:
    """Where to look on; `password` is None where the installation's database is not its own."""

    url: str
    user: str
    password: str | None

    def document(self) -> dict[str, Any]:
        return {
            "anomalies": f"{self.url}/api/v1/anomalies",
            "admin": f"{self.url}/admin/",
            "admin_user": self.user,
            "admin_password": self.password,
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
        if is_early or (item.fault is not None and per_fault[item.fault.id] <= SHOWN_PER_FAULT):
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


class Screen:
    """Prints what happens, as it happens."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._per_fault: Counter[str] = Counter()

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)

    def show(self, item: Found | Delivery) -> None:
        """Print the first anomalies of each fault, severe ones that match none, and every alert."""
        if isinstance(item, Delivery):
            what = f"{item.severity} {item.anomaly_type} of {item.service}/{item.model}"
            self._console.print(f"[bold cyan]ALERT[/]         {escape(what)}, signature verified", highlight=False)
        elif item.fault is not None:
            self._per_fault[item.fault.id] += 1
            if self._per_fault[item.fault.id] <= SHOWN_PER_FAULT:
                self._anomaly(item, f"<- injected {item.fault.kind} ({item.fault.id})")
        elif item.anomaly.severity in {"high", "critical"}:
            self._anomaly(item, "<- no injected fault")

    def _anomaly(self, item: Found, note: str) -> None:
        anomaly = item.anomaly
        style = SEVERITY_STYLES[anomaly.severity]
        series = f"{anomaly.service}/{anomaly.model}"
        self._console.print(
            f"{clock(anomaly.timestamp)}  [{style}]{anomaly.severity:<8}[/] {escape(series)}: "
            f"{escape(anomaly.explanation)}  [dim]confidence {anomaly.confidence:.4f} {escape(note)}[/]",
            highlight=False,
        )

    def summary(self, found: dict[str, Any]) -> None:
        """Print the faults with what was found of each, and the totals of the document."""
        table = Table("injected fault", "series", "events", "anomalies", box=None, pad_edge=False)
        for fault in found["faults"]:
            series = f"{fault['service']}/{fault['model']}"
            table.add_row(fault["id"], series, f"{fault['events']:,}", f"{fault['anomalies']:,}" or "-")
        self._console.print()
        self._console.print(table)
        events, alerts = found["events"], found["alerts"]
        first = found["seconds_to_first_anomaly"]
        scrubbed = ", ".join(f"{count:,} {kind}" for kind, count in sorted(events["scrubbed"].items())) or "nothing"
        self.say(
            f"\nevents: {events['sent']:,} sent, {events['stored']:,} stored, {events['rejected']:,} rejected; "
            f"scrubbed: {scrubbed}\n"
            f"anomalies: {found['matched_anomalies']:,} of injected faults, {found['false_anomalies']:,} others"
            f" (mostly low: heavy tails of ordinary traffic)\n"
            f"alerts: {alerts['received']:,} in {alerts['windows']:,} windows of (project, service, model, type) and"
            f" 5 minutes, {len(alerts['doubled_windows'])} windows doubled\n"
            f"first explained anomaly of a fault: {'none' if first is None else f'{first:.1f} s'}"
            f" after the start (ready after {found['seconds_to_ready']:.1f} s)"
        )
