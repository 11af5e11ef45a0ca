"""The query parameters of the list endpoints. An error names its parameter; an unknown parameter is an error."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from api.errors import invalid_parameter
from api.pages import CursorField
from detection.kinds import AnomalyType, DetectionMethod
from detection.registry import DETECTORS as REGISTRY
from detection.severity import Severity

MAX_LIMIT = 1_000
MAX_HOURS = 24 * 3_660
# As the routing of alerts calls them.
SEVERITY_ALIASES = {"info": "low", "warning": "medium"}
SEVERITIES = tuple(severity.value for severity in Severity)
# In both spellings: "zscore" of this API, "z_score" of the SDKs.
DETECTORS = {method.value: method.value for method in DetectionMethod} | {kind.label: kind.method for kind in REGISTRY}


@dataclass(frozen=True, slots=True)
class TimeRange:
    """What a list covers: (`start`, `end`]."""

    start: datetime
    end: datetime

    def shape(self) -> dict[str, str]:
        """Return the documented `timeRange`."""
        return {"start": iso(self.start), "end": iso(self.end)}


def iso(moment: datetime) -> str:
    """Return a UTC time as the documents spell it: `2024-11-06T10:25:00Z`, with microseconds where there are any."""
    return moment.isoformat().replace("+00:00", "Z")


class SeverityField(serializers.CharField):
    """One or more severities, separated by commas; `info` and `warning` mean `low` and `medium`."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the severities as a sorted list."""
        names = {name.strip().lower() for name in super().to_internal_value(data).split(",")}
        found = {SEVERITY_ALIASES.get(name, name) for name in names}
        if unknown := found - set(SEVERITIES):
            accepted = ", ".join((*SEVERITIES, *SEVERITY_ALIASES))
            raise serializers.ValidationError(f"{min(unknown)!r} is not a severity; use one of: {accepted}.")
        return sorted(found)


class DetectorField(serializers.ChoiceField):
    """A detector in either spelling."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the detection method."""
        return DETECTORS[super().to_internal_value(data)]


def _limit(default: int) -> serializers.IntegerField:
    return serializers.IntegerField(
        required=False, default=default, min_value=1, max_value=MAX_LIMIT, help_text="Items on a page."
    )


def _hours() -> serializers.DecimalField:
    return serializers.DecimalField(
        max_digits=9,
        decimal_places=4,
        required=False,
        min_value=Decimal("0.0001"),
        max_value=Decimal(MAX_HOURS),
        error_messages={
            "max_digits": f"Ensure this value is less than or equal to {MAX_HOURS}.",
            "max_whole_digits": f"Ensure this value is less than or equal to {MAX_HOURS}.",
        },
        help_text="How far back from now; default: as long as the project keeps its data.",
    )


def _name(help_text: str) -> serializers.CharField:
    return serializers.CharField(required=False, max_length=200, trim_whitespace=False, help_text=help_text)


class Query(serializers.Serializer[Any]):
    """A set of parameters."""

    @classmethod
    def read(cls, request: Request) -> dict[str, Any]:
        """Return the validated parameters of a request; raise the 400 that names the first wrong ones."""
        query = cls(data=request.query_params.dict())
        for name, values in request.query_params.lists():
            if name not in query.fields:
                known = ", ".join(query.fields) or "none"
                raise invalid_parameter(name, f"Unknown parameter; this endpoint has: {known}.")
            if len(values) > 1:
                raise invalid_parameter(name, "Given more than once.")
        query.is_valid(raise_exception=True)
        return dict(query.validated_data)


class TelemetryQuery(Query):
    """GET /api/v1/telemetry"""

    service = _name("Only events of this service.")
    model = _name("Only events of this model, as requested, without the provider's prefix.")
    hours = _hours()
    limit = _limit(MAX_LIMIT)
    cursor = CursorField((datetime, datetime, datetime, uuid.UUID))


class AnomaliesQuery(Query):
    """GET /api/v1/anomalies"""

    severity = SeverityField(required=False, help_text="low, medium, high or critical; several with commas.")
    hours = _hours()
    limit = _limit(100)
    service = _name("Only anomalies of this service.")
    model = _name("Only anomalies of this model.")
    metric = serializers.CharField(required=False, max_length=64, help_text="Only of this metric, such as latency_ms.")
    type = serializers.ChoiceField(
        choices=[kind.value for kind in AnomalyType], required=False, help_text="Only of this type."
    )
    detector = DetectorField(choices=sorted(DETECTORS), required=False, help_text="Only found by this one first.")
    cursor = CursorField((datetime, datetime, uuid.UUID))


class RecentQuery(Query):
    """GET /api/v1/anomalies/recent"""

    limit = _limit(10)
    cursor = CursorField((datetime, datetime, uuid.UUID))


class BaselinesQuery(Query):
    """GET /api/v1/baselines"""

    service = _name("Only baselines of this service.")
    model = _name("Only baselines of this model.")
    limit = _limit(MAX_LIMIT)
    cursor = CursorField((str, str))


class DeadLettersQuery(Query):
    """GET /api/v1/dead-letters"""

    status = serializers.ChoiceField(choices=["open", "replayed"], required=False, help_text="Only these.")
    reason = serializers.CharField(required=False, max_length=40, help_text="Only this reason.")
    hours = _hours()
    limit = _limit(100)
    cursor = CursorField((datetime, datetime, int))


def time_range(hours: Decimal | None, *, retention_days: int, now: datetime) -> TimeRange:
    """Return the last `hours`, or without them as much as the project keeps."""
    span = timedelta(days=retention_days) if hours is None else timedelta(hours=float(hours))
    return TimeRange(now - span, now)
