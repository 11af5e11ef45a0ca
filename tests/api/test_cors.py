from __future__ import annotations

import pytest
from django.test import Client
from pytest_django import Settings

URL = "/api/v1/telemetry"
PAGE = "https://dashboard.example"
PREFLIGHT = {"Origin": PAGE, "Access-Control-Request-Method": "GET"}


@pytest.fixture
def _allowed(settings: Settings) -> None:
    settings.SENTINEL_CORS_ORIGINS = [PAGE]


def test_it_is_closed_by_default(reader: Client) -> None:
    assert "Access-Control-Allow-Origin" not in reader.get(URL, headers={"Origin": PAGE}).headers
    preflight = reader.options(URL, headers=PREFLIGHT)
    assert not [name for name in preflight.headers if name.startswith("Access-Control")]


@pytest.mark.usefixtures("_allowed")
def test_a_page_of_an_allowed_origin_may_read(reader: Client) -> None:
    headers = reader.get(URL, headers={"Origin": PAGE}).headers
    assert headers["Access-Control-Allow-Origin"] == PAGE
    assert headers["Access-Control-Expose-Headers"] == "Link, Retry-After"
    assert "Origin" in headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in headers


@pytest.mark.usefixtures("_allowed")
def test_it_may_read_errors_as_well(anonymous: Client) -> None:
    response = anonymous.get(URL, headers={"Origin": PAGE})
    assert (response.status_code, response.headers["Access-Control-Allow-Origin"]) == (401, PAGE)


@pytest.mark.usefixtures("_allowed")
def test_a_preflight_needs_no_key(anonymous: Client) -> None:
    response = anonymous.options(URL, headers=PREFLIGHT)
    assert response.status_code == 204
    assert response.headers["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS"
    assert "Authorization" in response.headers["Access-Control-Allow-Headers"]


@pytest.mark.usefixtures("_allowed")
def test_another_origin_may_not(reader: Client) -> None:
    headers = reader.get(URL, headers={"Origin": "https://evil.example"}).headers
    assert "Access-Control-Allow-Origin" not in headers
    assert "Origin" in headers["Vary"]
