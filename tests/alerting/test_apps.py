from __future__ import annotations

from types import SimpleNamespace

import pytest

from alerting.apps import create_default_rule
from alerting.models import AlertRule
from ingestion.models.project import Project

pytestmark = pytest.mark.django_db

MADE = [(SimpleNamespace(app_label="alerting"), False)]


@pytest.fixture(autouse=True)
def default_project(project: Project) -> Project:
    return Project.objects.get_or_create(slug="default", defaults={"name": "Default"})[0]


def test_a_new_installation_logs_high_and_critical_anomalies_of_the_default_project(default_project: Project) -> None:
    create_default_rule(using="default", plan=MADE)

    rule = AlertRule.objects.get()
    assert (rule.project, rule.channel, rule.min_severity, rule.enabled) == (default_project, "log", "high", True)
    assert (rule.cooldown_seconds, rule.max_age_seconds, rule.max_attempts) == (300, 3600, 3)


def test_a_default_rule_that_was_deleted_does_not_come_back() -> None:
    create_default_rule(using="default", plan=[])
    create_default_rule(using="default")

    assert not AlertRule.objects.exists()


def test_an_installation_with_rules_is_given_none(project: Project) -> None:
    AlertRule.objects.create(project=project, name="mine")
    create_default_rule(using="default", plan=MADE)

    assert AlertRule.objects.count() == 1
