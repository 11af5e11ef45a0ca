"""What an engineer on call does, in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.pages.browser import Complaints, executable
from tests.pages.conftest import PASSWORD, Rows

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from ingestion.models import DeadLetter

EXPLANATION = "latency_ms was 15,234 ms, 12.3x the baseline mean of 1,234 ms"


def sign_in(page: Page) -> None:
    page.goto("/admin/")
    page.fill("input[name=username]", "ada")
    page.fill("input[name=password]", PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_selector("text=Newest anomalies")


def test_an_anomaly_leads_to_its_event_series_and_baseline(browser: tuple[Page, Complaints], rows: Rows) -> None:
    page, complaints = browser
    sign_in(page)
    assert EXPLANATION in page.inner_text("body")

    page.click("text=All anomalies")
    page.wait_for_selector("#result_list")
    assert EXPLANATION in page.inner_text("#result_list")
    assert f"{rows.anomaly.timestamp:%Y-%m-%d %H:%M:%S} UTC" in page.inner_text("#result_list")

    page.click("#result_list th a")
    page.wait_for_selector("text=What was measured")
    content = page.inner_text("#content")
    assert EXPLANATION in content
    assert "15,234 ms" in content

    address = page.url
    for name, shown in [("event", "Where is [EMAIL]?"), ("series", "chat-api"), ("baseline", "1,234 ± 234.2")]:
        page.goto(address)
        page.click(f"#content a:text-is('{name}')")
        page.wait_for_load_state("networkidle")
        assert page.url != address
        assert shown in page.inner_text("body")
    assert complaints.found == []


def test_a_dead_letter_is_replayed_by_the_action(browser: tuple[Page, Complaints]) -> None:
    page, complaints = browser
    sign_in(page)
    page.goto("/admin/ingestion/deadletter/")
    assert "latency_ms is required" in page.inner_text("#result_list")

    page.check("#result_list tbody input[type=checkbox]")
    page.select_option("select[name=action]", "replay_chosen")
    page.click("button[name=index]")
    page.wait_for_selector("text=1 replayed.")

    assert "REPLAYED" in page.inner_text("#result_list").upper()
    assert complaints.found == []


# Rows are made before the browser starts: beside its event loop Django refuses to ask the database.


@pytest.fixture
def _halted_partition(rows: Rows) -> None:
    from ingestion.models import PartitionCursor

    PartitionCursor.objects.create(
        project=rows.dead_letter.project, cluster_id="test", topic_id="test", topic="llm.telemetry", partition=2,
        next_offset=48_377, log_end=50_112, log_end_at=rows.anomaly.timestamp, halted_because="poisoned_build",
        halted_reason="A worker dies on a record: SIGSEGV in scrub", halted_at=rows.anomaly.timestamp,
    )  # fmt: skip


@pytest.fixture
def killer(rows: Rows) -> DeadLetter:
    """Give a dead letter that killed its worker."""
    letter = rows.dead_letter
    letter.reason, letter.stage, letter.payload = "killed_worker", "scrub", ""
    letter.save()
    return letter


@pytest.mark.usefixtures("_halted_partition")
def test_a_halted_partition_leads_to_its_runbook_and_goes_on_after_a_decision(
    browser: tuple[Page, Complaints],
) -> None:
    page, complaints = browser
    sign_in(page)
    assert "llm.telemetry[2] is halted since" in page.inner_text("#content")
    page.click("#content a:text-is('runbook') >> nth=0")
    page.wait_for_selector(".runbook h2")
    assert "What to do" in page.inner_text(".runbook")

    page.goto("/admin/ingestion/partitioncursor/?state=halted")
    assert "SIGSEGV in scrub" in page.inner_text("#result_list")
    assert "1,735" in page.inner_text("#result_list")
    page.check("#result_list tbody input[type=checkbox]")
    page.select_option("select[name=action]", "resume_halted")
    page.click("button[name=index]")
    page.wait_for_selector("text=Record 48377 is set aside unread")

    page.check("input[value=set_aside]")
    page.click("button:has-text('Let it go on')")
    page.wait_for_selector("text=llm.telemetry[2] goes on.")
    assert "HALTED" not in page.inner_text("#result_list").upper()
    assert complaints.found == []


def test_a_dead_letter_says_why_its_record_is_not_shown(killer: DeadLetter, browser: tuple[Page, Complaints]) -> None:
    page, complaints = browser
    sign_in(page)
    page.goto(f"/admin/ingestion/deadletter/{killer.pk}/change/")
    shown = page.inner_text("#content")
    assert "not shown: it killed its worker: only size and hash are kept" in shown
    assert "scrub" in shown
    assert bytes(killer.sha256).hex() in shown
    assert complaints.found == []


def test_the_api_page_shows_every_endpoint(browser: tuple[Page, Complaints]) -> None:
    page, complaints = browser
    page.goto("/api/docs")
    page.wait_for_selector("#operations-query-recent_anomalies")
    shown = page.inner_text("#swagger-ui").replace("\u200b", "")
    for path in (
        "/api/v1/telemetry",
        "/api/v1/anomalies",
        "/api/v1/baselines",
        "/api/v1/dead-letters",
        "/api/v1/events",
    ):
        assert path in shown
    assert complaints.found == []


def test_no_page_complains_or_asks_another_host(browser: tuple[Page, Complaints], rows: Rows) -> None:
    from django.contrib import admin
    from django.urls import reverse

    page, complaints = browser
    page.goto("/")
    page.wait_for_load_state("networkidle")
    sign_in(page)
    for model in admin.site._registry:
        page.goto(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"))
    for row in (rows.anomaly, rows.baseline, rows.dead_letter):
        page.goto(reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk]))
    for name in ("alerting_alertrule", "api_apikey", "detection_detectionconfig", "ingestion_project", "auth_user"):
        page.goto(reverse(f"admin:{name}_add"))
    assert complaints.found == []


def test_a_missing_browser_is_an_error_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    with pytest.raises(pytest.fail.Exception, match="apt-get install chromium"):
        executable()
