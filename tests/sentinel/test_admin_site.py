from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff() -> Client:
    from django.contrib.auth.models import User

    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    return client


def test_what_matters_on_call_comes_first(staff: Client) -> None:
    apps = staff.get("/admin/").context["app_list"]
    assert [app["name"] for app in apps][:4] == ["Detection", "Ingestion", "Alerting", "API"]
    assert apps[0]["models"][0]["object_name"] == "Anomaly"


def test_the_start_page_says_that_ingestion_has_halted(staff: Client) -> None:
    from ingestion.models import PartitionCursor, Project

    project = Project.objects.get(slug="default")
    PartitionCursor.objects.create(project=project, topic="t", partition=0)
    assert "Ingestion does not go on" not in staff.get("/admin/").content.decode()
    PartitionCursor.objects.update(halted_because="log_replaced", halted_reason="the log was replaced")
    page = staff.get("/admin/").content.decode()
    assert "t[0]</a> is halted since" in page
    assert "the log was replaced" in page
    assert "/admin/runbooks/log-replaced/" in page


def test_the_start_page_says_which_day_is_missing(staff: Client) -> None:
    from ingestion.partitions import ensure_partitions, partition_name

    ensure_partitions()
    tomorrow = (timezone.now() + timedelta(days=1)).date()
    with connection.cursor() as sql:
        sql.execute(f"DROP TABLE {partition_name('events', tomorrow)}")
    page = staff.get("/admin/").content.decode()
    assert f"no partition for 1 day, whose events are set aside as late: events {tomorrow}" in page
    assert "/admin/runbooks/day-missing/" in page


def test_the_start_page_says_that_series_are_scattered(staff: Client) -> None:
    from ingestion.models import Project, Topic

    Topic.objects.create(
        name="acme.telemetry", project=Project.objects.get(slug="default"), scattered_series=3, scattered_example_id=9,
        scattered_at=timezone.now(),
    )  # fmt: skip
    page = staff.get("/admin/").content.decode()
    assert "3 series of acme.telemetry arrive through several partitions" in page
    assert "/admin/runbooks/series-scattered/" in page


def test_who_may_not_see_anomalies_is_not_shown_them() -> None:
    from django.contrib.auth.models import User

    client = Client()
    client.force_login(User.objects.create_user("eve", is_staff=True))
    assert "Newest anomalies" not in client.get("/admin/").content.decode()


def test_times_are_in_utc_with_seconds(staff: Client) -> None:
    from django.utils.formats import localize

    now = timezone.now()
    assert localize(now) == f"{now:%Y-%m-%d %H:%M:%S} UTC"
