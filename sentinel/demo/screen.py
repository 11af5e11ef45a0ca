"""What a run of the demo shows on the terminal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sentinel.demo.lines import SEVERITY_STYLES, clock
from sentinel.demo.receiver import Delivery

if TYPE_CHECKING:
    from sentinel.demo.session import Found

SHOWN_PER_FAULT = 3


class Screen:
    """Prints what happens, as it happens."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._per_fault: Counter[str] = Counter()

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def show(self, item: Found | Delivery) -> None:
        """Print the first anomalies of each fault, severe ones that match none, and every alert."""
        if isinstance(item, Delivery):
            what = f"{item.severity} {item.anomaly_type} of {item.service}/{item.model}"
            self._console.print(
                f"[bold cyan]ALERT[/]         {escape(what)}, signature verified", highlight=False, soft_wrap=True
            )
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
            soft_wrap=True,
        )

    def summary(self, found: dict[str, Any]) -> None:
        """Print the faults with what was found of each, and the totals of the document."""
        table = Table("injected fault", "series", "events", "anomalies", box=None, pad_edge=False)
        for fault in found["faults"]:
            series = f"{fault['service']}/{fault['model']}"
            found_of_it = f"{fault['anomalies']:,}" if fault["anomalies"] else "none"
            table.add_row(fault["id"], series, f"{fault['events']:,}", found_of_it)
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
