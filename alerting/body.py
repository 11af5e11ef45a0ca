"""The JSON that a channel hands over: version 1 of the alert.

    {"id": "<uuid of the alert; repeats carry the same>", "type": "sentinel.anomaly" | "sentinel.test", "version": 1,
     "timestamp": "<when the alert was created, RFC 3339>", "project": "<slug>", "rule": {"id": 1, "name": "..."},
     "anomaly": {"id", "event_id", "timestamp", "anomaly_type", "severity", "service", "model", "metric",
                 "detection_method", "observed", "expected", "confidence", "details"},
     "explanation": "<a sentence>", "links": {"admin": "<URL, or a path where SENTINEL_PUBLIC_URL is not set>"}}

Receivers must ignore keys that they do not know; a key that changes its meaning raises `version`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.conf import settings

from alerting.channels.base import Alert
from alerting.models import AlertRule, OutboxEntry

BODY_VERSION = 1
# Ours and closed: a rule of the scrubber must not take part of an identifier for a telephone number.
_OURS = frozenset({"id", "event_id", "timestamp", "anomaly_type", "severity"})

# Takes texts and returns as many, scrubbed.
Scrub = Callable[[Sequence[str]], Sequence[str]]


def render(entry: OutboxEntry, rule: AlertRule, *, scrub: Scrub) -> Alert:
    """Return the alert of `entry`; the same entry gives the same bytes as long as its rule keeps its name."""
    anomaly: Mapping[str, object] = entry.anomaly
    ours = {key: value for key, value in anomaly.items() if key in _OURS}
    theirs = {key: value for key, value in anomaly.items() if key not in _OURS}
    clean = _scrubbed({"anomaly": theirs, "rule": rule.name, "service": entry.service, "model": entry.model}, scrub)
    clean_anomaly, rule_name = clean["anomaly"], str(clean["rule"])
    explanation = str(clean_anomaly.pop("explanation", ""))
    body = {
        "id": str(entry.id),
        "type": "sentinel.test" if entry.test else "sentinel.anomaly",
        "version": BODY_VERSION,
        "timestamp": _text(entry.created_at),
        "project": rule.project.slug,
        "rule": {"id": rule.pk, "name": rule_name},
        "anomaly": ours | clean_anomaly,
        "explanation": explanation,
        "links": {"admin": _link(entry)},
    }
    return Alert(
        id=entry.id,
        rule_name=rule_name,
        project=rule.project.slug,
        service=str(clean["service"]),
        model=str(clean["model"]),
        anomaly_type=entry.anomaly_type,
        severity=entry.severity,
        explanation=explanation,
        body=msgspec.json.encode(body),
    )


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _link(entry: OutboxEntry) -> str:
    base = settings.SENTINEL_PUBLIC_URL.rstrip("/")
    about = f"alerting/alertrule/{entry.rule_id}" if entry.test else f"detection/anomaly/{entry.anomaly_id}"
    return f"{base}/admin/{about}/change/"


def _scrubbed(value: dict[str, Any], scrub: Scrub) -> dict[str, Any]:
    """Return a copy of `value` with every string in it scrubbed, in one call for all of them."""
    replaced = iter(scrub(list(_strings(value))))
    return {key: _replace(item, replaced) for key, item in value.items()}


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)


def _replace(value: object, replaced: Iterator[str]) -> object:
    """Return a copy of `value` whose strings come from `replaced`, in the order of `_strings`."""
    if isinstance(value, str):
        return next(replaced)
    if isinstance(value, Mapping):
        return {key: _replace(item, replaced) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replace(item, replaced) for item in value]
    return value
