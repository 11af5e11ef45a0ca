"""Which injected fault an anomaly shows, if any (pure)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sentinel.demo.generator import InjectedFault

# A window verdict is known when its window ends, and a windowed fault may show a little longer.
WINDOW_SLACK_US = 120_000_000


@dataclass(frozen=True, slots=True)
class Sighting:
    """What an anomaly says about itself; `event_id` is None for one that is about a window."""

    service: str
    model: str
    metric: str
    timestamp_us: int
    event_id: uuid.UUID | None


class Matcher:
    """Knows the injected faults; more may be added while a demo runs."""

    def __init__(self, faults: Iterable[InjectedFault] = ()) -> None:
        self._by_event: dict[uuid.UUID, InjectedFault] = {}
        self._by_series: dict[tuple[str, str], list[InjectedFault]] = {}
        self.add(faults)

    def add(self, faults: Iterable[InjectedFault]) -> None:
        for fault in faults:
            self._by_event.update(dict.fromkeys(fault.event_ids, fault))
            self._by_series.setdefault((fault.service, fault.model), []).append(fault)

    def fault_of(self, sighting: Sighting) -> InjectedFault | None:
        """Return the fault that changed the anomaly's event (or window) on a metric that such a fault shows on."""
        if sighting.event_id is not None:
            fault = self._by_event.get(sighting.event_id)
            return fault if fault is not None and sighting.metric in fault.metrics else None
        return next(
            (
                fault
                for fault in self._by_series.get((sighting.service, sighting.model), ())
                if sighting.metric in fault.metrics
                and fault.start_us <= sighting.timestamp_us <= fault.end_us + WINDOW_SLACK_US
            ),
            None,
        )


def describe(fault: InjectedFault) -> Mapping[str, object]:
    """Return what the demo's document says of a fault."""
    return {
        "id": fault.id,
        "kind": fault.kind,
        "service": fault.service,
        "model": fault.model,
        "magnitude": fault.magnitude,
        "events": len(fault.event_ids),
    }
