from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from alerting.models import SECRET_OVERLAP, AlertRule, check_anomaly_types, check_secret
from alerting.signature import new_secret

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_replaced_secret_signs_along_for_a_day() -> None:
    rule = AlertRule(webhook_secret="old secret, long enough")
    rule.replace_secret("new secret, long enough", now=NOW)

    assert rule.target(now=NOW).secrets == ("new secret, long enough", "old secret, long enough")
    just_before = NOW + SECRET_OVERLAP - timedelta(seconds=1)
    assert len(rule.target(now=just_before).secrets) == 2
    assert rule.target(now=NOW + SECRET_OVERLAP).secrets == ("new secret, long enough",)


def test_only_the_last_four_characters_of_a_secret_are_shown() -> None:
    assert AlertRule(webhook_secret="correct horse battery").secret_hint == "…tery"
    assert AlertRule(webhook_secret="short").secret_hint == ""
    assert AlertRule().secret_hint == ""


@pytest.mark.parametrize("value", ["too short", "whsec_???", "whsec_c2hvcnQ="])
def test_secrets_that_can_be_guessed_or_not_be_used_are_refused(value: str) -> None:
    with pytest.raises(ValidationError):
        check_secret(value)


def test_generated_secrets_are_accepted() -> None:
    check_secret(new_secret())


@pytest.mark.parametrize("value", ["latency_spike", {"a": 1}, [1], ["Latency Spike"], [""]])
def test_anomaly_types_are_a_list_of_names(value: object) -> None:
    with pytest.raises(ValidationError):
        check_anomaly_types(value)


@pytest.mark.django_db
def test_a_rule_with_a_webhook_that_may_not_be_reached_names_the_field(
    make_rule: Callable[..., AlertRule], settings: Any
) -> None:
    settings.SENTINEL_WEBHOOK_ALLOWED_NETWORKS = []
    rule = make_rule(channel="webhook", webhook_url="http://169.254.169.254/latest/meta-data/")

    with pytest.raises(ValidationError) as caught:
        rule.full_clean()

    assert set(caught.value.message_dict) == {"webhook_url"}
    assert "may not reach" in caught.value.message_dict["webhook_url"][0]
