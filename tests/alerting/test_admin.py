from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from alerting.candidate import AlertCandidate
from alerting.models import AlertRule, DeliveryAttempt, OutboxEntry
from alerting.outbox import Enqueued
from ingestion.models.project import Project
from tests.alerting.receiver import Answer, Receiver
from tests.alerting.secrecy import SECRET

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("allow_loopback")]

MakeRule = Callable[..., AlertRule]
ADD = "admin:alerting_alertrule_add"
LIST = "admin:alerting_alertrule_changelist"


@pytest.fixture
def operator() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("operator", password="x"))
    return client


@pytest.fixture
def fields(project: Project) -> dict[str, Any]:
    """Return a valid form."""
    return {
        "project": project.pk,
        "name": "Pages",
        "enabled": "on",
        "anomaly_types": "latency_spike, cost_anomaly latency_spike",
        "min_severity": "high",
        "service_pattern": "*",
        "model_pattern": "gpt-*",
        "cooldown_seconds": "300",
        "max_age_seconds": "",
        "max_attempts": "3",
        "channel": "log",
        "webhook_url": "",
        "new_secret": "",
    }


def errors(response: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = response.context["adminform"].form.errors
    return found


def test_a_rule_is_created(operator: Client, fields: dict[str, Any]) -> None:
    assert operator.post(reverse(ADD), fields).status_code == 302

    rule = AlertRule.objects.get()
    assert rule.anomaly_types == ["latency_spike", "cost_anomaly"]
    assert rule.max_age_seconds is None


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("anomaly_types", "Latency!", "An anomaly type has"),
        ("min_severity", "urgent", "not one of the available choices"),
        ("cooldown_seconds", "0", "greater than or equal to 1"),
        ("max_attempts", "21", "less than or equal to 20"),
        ("channel", "pigeon", "not one of the available choices"),
        ("new_secret", "short", "at least 16 bytes"),
    ],
)
def test_a_mistake_is_named_with_its_field(
    operator: Client, fields: dict[str, Any], field: str, value: str, complaint: str
) -> None:
    response = operator.post(reverse(ADD), fields | {field: value})

    assert response.status_code == 200
    assert complaint in str(errors(response)[field])
    assert not AlertRule.objects.exists()


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "must start with https"),
        ("http://10.0.0.1/", "may not reach"),
        ("http://user:pw@127.0.0.1/", "user name or password"),
    ],
)
def test_a_webhook_that_cannot_be_used_is_refused_when_saved(
    operator: Client, fields: dict[str, Any], url: str, complaint: str
) -> None:
    response = operator.post(reverse(ADD), fields | {"channel": "webhook", "webhook_url": url})

    assert complaint in str(errors(response)["webhook_url"])


def test_a_webhook_without_a_secret_is_given_one_that_is_shown_once(operator: Client, fields: dict[str, Any]) -> None:
    changes = {"channel": "webhook", "webhook_url": "http://127.0.0.1:9/"}
    response = operator.post(reverse(ADD), fields | changes, follow=True)

    rule = AlertRule.objects.get()
    assert rule.webhook_secret.startswith("whsec_")
    shown = [str(message) for message in response.context["messages"]]
    assert any(rule.webhook_secret in message for message in shown)

    page = operator.get(reverse("admin:alerting_alertrule_change", args=[rule.pk])).content.decode()
    assert rule.webhook_secret not in page
    assert rule.webhook_secret[-4:] in page.replace("&#x3D;", "=")


def test_a_new_secret_replaces_the_old_one_which_signs_along(
    operator: Client, fields: dict[str, Any], make_rule: MakeRule
) -> None:
    rule = make_rule(channel="webhook", webhook_url="http://127.0.0.1:9/", webhook_secret=SECRET)
    changes = {"channel": "webhook", "webhook_url": "http://127.0.0.1:9/", "new_secret": "correct horse battery"}
    operator.post(reverse("admin:alerting_alertrule_change", args=[rule.pk]), fields | changes)

    rule.refresh_from_db()
    assert rule.target(now=datetime.now(UTC)).secrets == ("correct horse battery", SECRET)

    operator.post(reverse("admin:alerting_alertrule_change", args=[rule.pk]), fields | changes | {"new_secret": ""})
    rule.refresh_from_db()
    assert rule.webhook_secret == "correct horse battery"


def test_a_rule_that_is_enabled_again_forgets_why_it_was_disabled(
    operator: Client, fields: dict[str, Any], make_rule: MakeRule
) -> None:
    rule = make_rule(enabled=False, disabled_reason="gone")
    operator.post(reverse("admin:alerting_alertrule_change", args=[rule.pk]), fields)

    rule.refresh_from_db()
    assert (rule.enabled, rule.disabled_reason) == (True, "")


@pytest.mark.parametrize(
    ("answer", "message"),
    [(Answer(204), "the test alert was delivered"), (Answer(404), "The receiver rejected the request")],
)
def test_a_test_alert_is_sent_and_its_outcome_shown(
    operator: Client, make_rule: MakeRule, answer: Answer, message: str
) -> None:
    with Receiver(answer) as receiver:
        rule = make_rule(channel="webhook", webhook_url=receiver.url, webhook_secret=SECRET)
        data = {"action": "send_test_alert", "_selected_action": [rule.pk]}
        response = operator.post(reverse(LIST), data, follow=True)

    assert len(receiver.requests) == 1
    assert message in " ".join(str(shown) for shown in response.context["messages"])
    assert OutboxEntry.objects.get().test


def test_outbox_and_attempts_can_be_read_and_filtered_but_not_changed(
    operator: Client,
    make_rule: MakeRule,
    make_candidate: Callable[..., AlertCandidate],
    put: Callable[..., Enqueued],
) -> None:
    rule = make_rule()
    put(make_candidate(), make_candidate(), make_candidate())
    rule.delete()
    entry = OutboxEntry.objects.filter(status="pending").earliest("id")
    attempt = DeliveryAttempt.objects.create(entry=entry, number=1, channel="log", outcome="delivered", seconds=0.1)

    page = operator.get(
        reverse("admin:alerting_outboxentry_changelist") + "?suppression_reason__exact=duplicate_in_window"
    )
    assert len(page.context["cl"].result_list) == 1
    assert len(operator.get(reverse("admin:alerting_outboxentry_changelist")).context["cl"].result_list) == 3
    assert operator.get(reverse("admin:alerting_outboxentry_change", args=[entry.pk])).status_code == 200
    assert operator.get(reverse("admin:alerting_deliveryattempt_changelist") + "?outcome=delivered").status_code == 200
    assert operator.get(reverse("admin:alerting_deliveryattempt_change", args=[attempt.pk])).status_code == 200
    assert operator.get(reverse("admin:alerting_outboxentry_changelist") + f"?q={entry.pk}").status_code == 200
    for name in ("outboxentry", "deliveryattempt"):
        assert operator.get(reverse(f"admin:alerting_{name}_add")).status_code == 403
    assert operator.post(reverse("admin:alerting_outboxentry_change", args=[entry.pk]), {}).status_code == 403
    assert operator.post(reverse("admin:alerting_outboxentry_delete", args=[entry.pk])).status_code == 403


def test_failed_alerts_can_be_tried_again_from_the_outbox(
    operator: Client, project: Project, make_rule: MakeRule
) -> None:
    entry = OutboxEntry.objects.create(
        id=uuid.uuid4(), rule=make_rule(), project=project, anomaly_id=uuid.uuid4(), service="s", model="m",
        anomaly_type="t", severity="high", anomaly_timestamp=datetime.now(UTC), window_start=datetime.now(UTC),
        status="failed", failure_reason="timeout", attempts=3, claims=3,
    )  # fmt: skip
    data = {"action": "send_again", "_selected_action": [entry.pk]}
    operator.post(reverse("admin:alerting_outboxentry_changelist"), data)

    entry.refresh_from_db()
    assert entry.status == "pending"


def test_people_without_permission_see_nothing(make_rule: MakeRule) -> None:
    make_rule()
    client = Client()
    client.force_login(User.objects.create_user("visitor", password="x", is_staff=True))

    assert client.get(reverse(LIST)).status_code == 403
    assert client.get(reverse("admin:alerting_outboxentry_changelist")).status_code == 403
