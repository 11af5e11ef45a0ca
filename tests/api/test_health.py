from __future__ import annotations

import re
import threading
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from api.health import Probe, run_probes
from api.views import health as views
from ingestion.models import InboxPartition

CLOSED = "redis://127.0.0.1:1/0"


def test_live_has_exactly_the_documented_shape(client: Client) -> None:
    response = client.get("/health/live")
    assert response.status_code == 200
    body = response.json()
    assert list(body) == ["status", "timestamp"]
    assert body["status"] == "healthy"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", body["timestamp"])


def test_answers_are_never_cached(client: Client) -> None:
    assert "no-store" in client.get("/health/live").headers["Cache-Control"]


@pytest.mark.usefixtures("inbox")
class TestReady:
    def test_with_everything_there(self, client: Client, redis_url: str) -> None:
        response = client.get("/health/ready")
        body = response.json()
        assert (response.status_code, body["status"]) == (200, "ready")
        assert list(body["checks"]) == ["postgres", "migrations", "log", "redis"]
        for check in body["checks"].values():
            assert list(check) == ["status", "needed", "latency_ms", "error"]
            assert (check["status"], check["error"]) == ("up", None)
            assert 0 <= check["latency_ms"] < 3_000

    def test_without_redis_it_is_degraded_and_still_takes_traffic(self, client: Client, settings: Settings) -> None:
        settings.REDIS_URL = CLOSED
        response = client.get("/health/ready")
        assert (response.status_code, response.json()["status"]) == (200, "degraded")
        redis = response.json()["checks"]["redis"]
        assert (redis["status"], redis["needed"]) == ("down", False)
        assert redis["error"].startswith("ConnectionError: ")

    def test_without_the_log_it_is_not_ready(self, client: Client, redis_url: str) -> None:
        InboxPartition.objects.all().delete()
        response = client.get("/health/ready")
        assert (response.status_code, response.json()["status"]) == (503, "not_ready")
        assert response.json()["checks"]["log"]["error"] == "RuntimeError: topic llm.telemetry does not exist"


def test_a_probe_that_hangs_hides_no_other() -> None:
    release = threading.Event()

    def wait() -> None:
        release.wait(10)

    probes = {
        "hangs": Probe("hangs", wait, needed=True),
        "answers": Probe("answers", lambda: None, needed=True),
    }
    try:
        hangs, answers = run_probes(probes, timeout_seconds=0.2)
    finally:
        release.set()
    assert (hangs.up, hangs.error) == (False, "no answer within 0.2 s")
    assert answers.up


class TestStartup:
    @pytest.fixture(autouse=True)
    def _fresh(self) -> None:
        views._started.clear()

    @pytest.mark.django_db(transaction=True)
    def test_is_started_once_the_migrations_are_applied(self, client: Client) -> None:
        response = client.get("/health/startup")
        assert (response.status_code, response.json()["status"]) == (200, "started")
        assert list(response.json()["checks"]) == ["postgres", "migrations"]

    def test_says_what_it_waits_for(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail() -> None:
            raise RuntimeError("3 migrations are not applied; run `python manage.py migrate`")

        probe = Probe("migrations", fail, needed=True)
        monkeypatch.setattr(views, "STARTUP_PROBES", {"migrations": probe})
        response = client.get("/health/startup")
        assert (response.status_code, response.json()["status"]) == (503, "starting")
        assert response.json()["checks"]["migrations"]["error"] == (
            "RuntimeError: 3 migrations are not applied; run `python manage.py migrate`"
        )

    @pytest.mark.django_db(transaction=True)
    def test_later_outages_do_not_undo_it(self, client: Client) -> None:
        client.get("/health/startup")
        assert client.get("/health/startup").json().keys() == {"status", "timestamp"}


@pytest.mark.parametrize("name", ["live", "ready", "startup"])
def test_only_reading_is_allowed(client: Client, name: str) -> None:
    response: Any = client.post(reverse(name))
    assert response.status_code == 405
