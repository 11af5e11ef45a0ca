from __future__ import annotations

from collections.abc import Callable

from django.contrib.auth import get_user_model
from django.test import Client

from ingestion.models import Event


def test_an_empty_installation_says_what_to_run(anonymous: Client) -> None:
    page = anonymous.get("/").content.decode()
    assert "No event has arrived yet." in page
    assert "sentinel demo" in page


def test_with_events_it_is_a_list_of_links(anonymous: Client, add_event: Callable[..., Event]) -> None:
    add_event()
    page = anonymous.get("/").content.decode()
    assert "No event has arrived yet." not in page
    for link in ("/admin/", "/api/docs", "/api/schema", "/health/ready", "/metrics"):
        assert f'href="{link}"' in page


def test_staff_is_sent_to_the_admin(anonymous: Client) -> None:
    anonymous.force_login(get_user_model().objects.create_superuser("ada"))
    response = anonymous.get("/")
    assert (response.status_code, response.headers["Location"]) == (302, "/admin/")
