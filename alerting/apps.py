from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import register
from django.db.models.signals import post_migrate

DEFAULT_RULE_NAME = "High and critical anomalies"


def create_default_rule(using: str, plan: Sequence[tuple[Any, bool]] = (), **_: Any) -> None:
    """Give the default project a rule that writes to the log: a new installation alerts without set-up.

    Only when the tables have just been made, so that an operator who deletes the rule is not given it again.
    """
    made = any(migration.app_label == "alerting" and not backwards for migration, backwards in plan)
    if not made:
        return
    from alerting.models import AlertRule
    from ingestion.models.project import DEFAULT_PROJECT_SLUG, Project

    project = Project.objects.using(using).filter(slug=DEFAULT_PROJECT_SLUG).first()
    if project is not None and not AlertRule.objects.using(using).exists():
        AlertRule.objects.using(using).create(project=project, name=DEFAULT_RULE_NAME)


class AlertingConfig(AppConfig):
    name = "alerting"

    def ready(self) -> None:
        from alerting.checks import check_allowed_networks

        register(check_allowed_networks)
        post_migrate.connect(create_default_rule, sender=self)
