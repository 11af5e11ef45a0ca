from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerting.candidate import AlertCandidate
from alerting.models import AlertRule
from alerting.rules import RuleSnapshot, load_rules
from ingestion.models.project import Project


def snapshot(**fields: Any) -> RuleSnapshot:
    defaults: dict[str, Any] = {
        "id": 1,
        "project_id": 1,
        "anomaly_types": frozenset(),
        "min_severity": "low",
        "service_pattern": "*",
        "model_pattern": "*",
        "cooldown_seconds": 300,
        "max_age_seconds": 3600,
    }
    return RuleSnapshot(**(defaults | fields))


def candidate(**fields: Any) -> AlertCandidate:
    defaults: dict[str, Any] = {
        "anomaly_id": uuid.uuid4(),
        "project_id": 1,
        "service": "chat-api",
        "model": "gpt-4o",
        "anomaly_type": "latency_spike",
        "severity": "medium",
        "timestamp": datetime(2026, 1, 1, tzinfo=UTC),
        "metric": "latency_ms",
    }
    return AlertCandidate(**(defaults | fields))


@pytest.mark.parametrize(
    ("rule", "anomaly", "expected"),
    [
        ({}, {}, True),
        ({"project_id": 2}, {}, False),
        ({"min_severity": "medium"}, {}, True),
        ({"min_severity": "high"}, {}, False),
        ({"min_severity": "high"}, {"severity": "critical"}, True),
        ({"anomaly_types": frozenset({"latency_spike", "cost_anomaly"})}, {}, True),
        ({"anomaly_types": frozenset({"cost_anomaly"})}, {}, False),
        ({"service_pattern": "chat-*"}, {}, True),
        ({"service_pattern": "chat"}, {}, False),
        ({"service_pattern": "CHAT-*"}, {}, False),
        ({"model_pattern": "gpt-4?"}, {}, True),
        ({"model_pattern": "claude-*"}, {}, False),
    ],
)
def test_a_rule_matches_on_project_severity_type_service_and_model(
    rule: dict[str, Any], anomaly: dict[str, Any], expected: bool
) -> None:
    assert snapshot(**rule).matches(candidate(**anomaly)) is expected


def test_windows_are_fixed_multiples_of_the_cooldown() -> None:
    rule = snapshot(cooldown_seconds=300)
    start = datetime(2026, 1, 1, 12, 5, tzinfo=UTC)

    assert rule.window_start(start) == start
    assert rule.window_start(start + timedelta(seconds=299, microseconds=999_999)) == start
    assert rule.window_start(start + timedelta(seconds=300)) == start + timedelta(seconds=300)
    assert rule.window_start(datetime(1969, 12, 31, 23, 59, tzinfo=UTC)) == datetime(1969, 12, 31, 23, 55, tzinfo=UTC)


def test_staleness_is_measured_against_now_and_can_be_switched_off() -> None:
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)

    assert not snapshot().is_stale(now - timedelta(seconds=3600), now=now)
    assert snapshot().is_stale(now - timedelta(seconds=3601), now=now)
    assert not snapshot(max_age_seconds=None).is_stale(now - timedelta(days=400), now=now)


@pytest.mark.django_db
def test_only_enabled_rules_of_the_asked_projects_are_loaded(
    make_rule: Callable[..., AlertRule], project: Project
) -> None:
    other = Project.objects.create(slug="other", name="Other")
    mine = make_rule(anomaly_types=["cost_anomaly"], max_age_seconds=None)
    make_rule(enabled=False)
    make_rule(project=other)

    (loaded,) = load_rules([project.pk])

    assert (loaded.id, loaded.project_id) == (mine.pk, project.pk)
    assert loaded.anomaly_types == frozenset({"cost_anomaly"})
    assert loaded.max_age_seconds is None


@pytest.mark.django_db
def test_rules_are_cached_for_five_seconds(
    make_rule: Callable[..., AlertRule], project: Project, django_assert_num_queries: Any
) -> None:
    make_rule()
    time = [100.0]
    with django_assert_num_queries(1):
        assert len(load_rules([project.pk], monotonic=lambda: time[0])) == 1
        time[0] = 104.9
        assert len(load_rules([project.pk], monotonic=lambda: time[0])) == 1
    make_rule()
    time[0] = 105.0
    assert len(load_rules([project.pk], monotonic=lambda: time[0])) == 2
