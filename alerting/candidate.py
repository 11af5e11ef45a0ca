"""What detection hands over: one anomaly, as plain values."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertCandidate:
    """An anomaly that rules are matched against; its strings are scrubbed already.

    `timestamp` is the event's (aware, UTC). `details` holds whatever else the alert's body shall show and must be
    encodable as JSON; numbers that are not finite become null.
    """

    anomaly_id: uuid.UUID
    project_id: int
    service: str
    model: str
    anomaly_type: str
    severity: str
    timestamp: datetime
    metric: str
    observed: float | None = None
    expected: float | None = None
    confidence: float | None = None
    detection_method: str = ""
    explanation: str = ""
    event_id: uuid.UUID | None = None
    details: Mapping[str, object] = field(default_factory=dict)
