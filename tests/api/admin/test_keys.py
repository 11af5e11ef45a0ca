from __future__ import annotations

import re

from django.test import Client
from django.urls import reverse

from api.authentication import caller_of_key
from api.models import ApiKey, Scope, create_key
from ingestion.models import Project


def add(staff: Client, project: Project, *scopes: str) -> str:
    data = {"project": project.pk, "name": "checkout", "scopes": scopes, "expires_at_0": "", "expires_at_1": ""}
    response = staff.post(reverse("admin:api_apikey_add"), data)
    assert response.status_code == 200
    assert "no-store" in response.headers["Cache-Control"]
    return response.content.decode()


def test_a_new_key_is_shown_once_and_works(staff: Client, project: Project) -> None:
    match = re.search(r"sk_sentinel_\w{12}_\w{49}", add(staff, project, "read"))
    assert match is not None
    assert caller_of_key(match[0]).scopes == {"read"}
    key = ApiKey.objects.get()
    page = staff.get(reverse("admin:api_apikey_change", args=[key.pk])).content.decode()
    assert f"sk_sentinel_{key.prefix}_…" in page
    assert match[0] not in page


def test_a_key_needs_a_scope(staff: Client, project: Project) -> None:
    assert "This field is required." in add(staff, project)
    assert not ApiKey.objects.exists()


def test_keys_are_revoked_together(staff: Client, project: Project) -> None:
    made = [create_key(project, name="test", scopes=[Scope.READ])[0] for _ in range(2)]
    data = {"action": "revoke", "_selected_action": [key.pk for key in made]}
    page = staff.post(reverse("admin:api_apikey_changelist"), data, follow=True).content.decode()
    assert "2 keys are refused from now on." in page
    assert not ApiKey.objects.filter(revoked_at=None).exists()


def test_editing_a_key_keeps_its_secret_and_project(staff: Client, project: Project, other_project: Project) -> None:
    key, token = create_key(project, name="test", scopes=[Scope.READ])
    data = {"name": "renamed", "project": other_project.pk, "scopes": ["read", "ingest"]}
    staff.post(reverse("admin:api_apikey_change", args=[key.pk]), data)
    caller = caller_of_key(str(token))
    assert caller.project == project
    assert caller.scopes == {"read", "ingest"}
    key.refresh_from_db()
    assert key.name == "renamed"
