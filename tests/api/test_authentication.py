from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from api import keys
from api.models import ApiKey, Scope, create_key
from ingestion.models import Project

URL = "/api/v1/telemetry"


def error_of(client: Client, **headers: str) -> tuple[int, str, str]:
    response = client.get(URL, headers=headers)
    error = response.json()["error"]
    return response.status_code, error["code"], error["message"]


def test_without_a_key_the_answer_says_how_to_send_one(anonymous: Client) -> None:
    response = anonymous.get(URL)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="sentinel"'
    assert response.json() == {
        "error": {
            "code": "not_authenticated",
            "message": "Send an API key as `Authorization: Bearer sk_sentinel_…`; "
            "make one in the admin or with `sentinel keys create`.",
            "fields": [],
        }
    }


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
def test_a_key_is_accepted_in_either_header(anonymous: Client, project: Project, header: str) -> None:
    _, token = create_key(project, name="test", scopes=[Scope.READ])
    value = f"Bearer {token}" if header == "Authorization" else str(token)
    assert anonymous.get(URL, headers={header: value}).status_code == 200


def test_another_scheme_than_bearer_is_refused(anonymous: Client) -> None:
    assert error_of(anonymous, Authorization="Basic dXNlcjpwYXNz") == (
        401,
        "invalid_key",
        "Authorization must be `Bearer sk_sentinel_…`; other schemes are not accepted.",
    )


def test_text_that_is_no_key_is_refused(anonymous: Client) -> None:
    status, code, message = error_of(anonymous, Authorization="Bearer hunter2")
    assert (status, code) == (401, "invalid_key")
    assert message == ("This is not a Sentinel API key; keys look like sk_sentinel_<12 characters>_<49 characters>.")


def test_a_well_formed_key_that_nobody_made_is_refused(anonymous: Client) -> None:
    assert error_of(anonymous, Authorization=f"Bearer {keys.generate()}") == (
        401,
        "invalid_key",
        "This API key does not exist.",
    )


def test_a_known_prefix_with_another_secret_is_refused(anonymous: Client, project: Project) -> None:
    stored = create_key(project, name="test", scopes=[Scope.READ])[0]
    forged = keys.with_prefix(stored.prefix)
    assert error_of(anonymous, Authorization=f"Bearer {forged}")[:2] == (401, "invalid_key")


def test_an_expired_key_says_since_when(anonymous: Client, project: Project) -> None:
    then = timezone.now() - timedelta(days=1)
    _, token = create_key(project, name="test", scopes=[Scope.READ], expires_at=then)
    assert error_of(anonymous, Authorization=f"Bearer {token}") == (
        401,
        "key_expired",
        f"This API key expired at {then:%Y-%m-%dT%H:%M:%SZ}.",
    )


def test_a_revoked_key_says_since_when(anonymous: Client, project: Project) -> None:
    key, token = create_key(project, name="test", scopes=[Scope.READ])
    key.revoked_at = timezone.now()
    key.save()
    assert error_of(anonymous, Authorization=f"Bearer {token}") == (
        401,
        "key_revoked",
        f"This API key was revoked at {key.revoked_at:%Y-%m-%dT%H:%M:%SZ}.",
    )


def test_a_key_without_the_scope_is_told_what_it_lacks(sender: Client) -> None:
    assert error_of(sender) == (403, "missing_scope", "This endpoint needs the scope read; the key has: ingest.")


def test_the_admin_scope_includes_the_others(administrator: Client) -> None:
    assert administrator.get(URL).status_code == 200


def test_the_last_use_is_written_at_most_once_a_minute(anonymous: Client, project: Project) -> None:
    key, token = create_key(project, name="test", scopes=[Scope.READ])
    anonymous.get(URL, headers={"X-API-Key": str(token)})
    key.refresh_from_db()
    first = key.last_used_at
    assert first is not None
    anonymous.get(URL, headers={"X-API-Key": str(token)})
    key.refresh_from_db()
    assert key.last_used_at == first
    ApiKey.objects.update(last_used_at=first - timedelta(minutes=2))
    anonymous.get(URL, headers={"X-API-Key": str(token)})
    key.refresh_from_db()
    assert key.last_used_at is not None
    assert key.last_used_at > first


@pytest.fixture
def _loopback(settings: Settings, project: Project) -> None:
    settings.SENTINEL_LOOPBACK_PROJECT = project.slug


@pytest.mark.usefixtures("_loopback")
class TestLoopback:
    @pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
    def test_needs_no_key(self, anonymous: Client, address: str) -> None:
        assert anonymous.get(URL, REMOTE_ADDR=address).status_code == 200

    @pytest.mark.parametrize("address", ["10.0.0.1", "::ffff:10.0.0.1", "", "unix:"])
    def test_other_addresses_need_one(self, anonymous: Client, address: str) -> None:
        assert anonymous.get(URL, REMOTE_ADDR=address).status_code == 401

    @pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
    def test_behind_a_proxy_a_key_is_needed(self, anonymous: Client, header: str) -> None:
        assert error_of(anonymous, **{header: "127.0.0.1"})[1] == "not_authenticated"

    def test_a_wrong_key_does_not_fall_back_to_it(self, anonymous: Client) -> None:
        assert error_of(anonymous, Authorization=f"Bearer {keys.generate()}")[1] == "invalid_key"

    def test_a_page_of_another_site_cannot_use_it(self, anonymous: Client) -> None:
        assert error_of(anonymous, Origin="https://evil.example")[1] == "not_authenticated"
        assert error_of(anonymous, **{"Sec-Fetch-Site": "cross-site"})[1] == "not_authenticated"

    def test_our_own_pages_can_use_it(self, anonymous: Client) -> None:
        assert anonymous.get(URL, headers={"Origin": "http://testserver"}).status_code == 200

    def test_does_not_include_the_admin_scope(self, anonymous: Client) -> None:
        response = anonymous.post("/api/v1/dead-letters/1/replay")
        assert response.status_code == 403


@pytest.mark.usefixtures("_loopback")
def test_what_loopback_may_not_do_is_not_said_of_a_key(anonymous: Client) -> None:
    error = anonymous.post("/api/v1/dead-letters/1/replay").json()["error"]
    assert "a call from this machine without a key has: ingest, read" in error["message"]


def test_loopback_needs_a_key_unless_the_setting_names_a_project(anonymous: Client) -> None:
    assert anonymous.get(URL, REMOTE_ADDR="127.0.0.1").status_code == 401
