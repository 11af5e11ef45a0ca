"""Rules as plain values, cached for a few seconds in each process."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

from alerting.candidate import AlertCandidate
from alerting.models import AlertRule
from detection.severity import Severity

CACHE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSnapshot:
    """What of an enabled rule decides whether an anomaly enters the outbox. No anomaly types: every type."""

    id: int
    project_id: int
    anomaly_types: frozenset[str]
    min_severity: str
    service_pattern: str
    model_pattern: str
    cooldown_seconds: int
    max_age_seconds: int | None

    def matches(self, candidate: AlertCandidate) -> bool:
        """Return whether `candidate` is one that the rule asks for; patterns are case-sensitive shell patterns."""
        return (
            candidate.project_id == self.project_id
            and Severity(candidate.severity).rank >= Severity(self.min_severity).rank
            and (not self.anomaly_types or candidate.anomaly_type in self.anomaly_types)
            and fnmatchcase(candidate.service, self.service_pattern)
            and fnmatchcase(candidate.model, self.model_pattern)
        )

    def window_start(self, timestamp: datetime) -> datetime:
        """Return the start of the fixed window (multiples of the cooldown since the epoch) that holds `timestamp`."""
        elapsed = timestamp - _EPOCH
        return timestamp - elapsed % timedelta(seconds=self.cooldown_seconds)

    def is_stale(self, timestamp: datetime, *, now: datetime) -> bool:
        """Return whether an anomaly of `timestamp` is too old at `now` to tell anybody."""
        return self.max_age_seconds is not None and (now - timestamp).total_seconds() > self.max_age_seconds


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# (end on the monotonic clock, snapshots); replaced as a whole, so that threads need no lock
_cache: tuple[float, tuple[RuleSnapshot, ...]] = (float("-inf"), ())


def load_rules(
    project_ids: Collection[int], *, monotonic: Callable[[], float] = time.monotonic
) -> Sequence[RuleSnapshot]:
    """Return the enabled rules of these projects, at most `CACHE_SECONDS` old.

    May be called inside a transaction when warmed by a call before it. A cold cache, or one that went cold in between,
    costs one query. A rule disabled since is caught at delivery.
    """
    global _cache
    until, snapshots = _cache
    if monotonic() >= until:
        snapshots = tuple(_snapshot(rule) for rule in AlertRule.objects.filter(enabled=True).order_by("id"))
        _cache = (monotonic() + CACHE_SECONDS, snapshots)
    return [snapshot for snapshot in snapshots if snapshot.project_id in project_ids]


def forget_rules() -> None:
    """Empty this process's cache; for tests and for whoever has just changed a rule."""
    global _cache
    _cache = (float("-inf"), ())


def _snapshot(rule: AlertRule) -> RuleSnapshot:
    return RuleSnapshot(
        id=rule.pk,
        project_id=rule.project_id,
        anomaly_types=frozenset(rule.anomaly_types),
        min_severity=rule.min_severity,
        service_pattern=rule.service_pattern,
        model_pattern=rule.model_pattern,
        cooldown_seconds=rule.cooldown_seconds,
        max_age_seconds=rule.max_age_seconds,
    )
