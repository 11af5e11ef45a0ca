from __future__ import annotations

import io

import pytest
from django.contrib.auth import authenticate, get_user_model
from django.core.management import call_command

from api.management.commands.ensure_admin import ensure_admin

pytestmark = pytest.mark.django_db


def run() -> str:
    out = io.StringIO()
    call_command("ensure_admin", stdout=out)
    return out.getvalue().strip()


def test_a_generated_password_is_shown_and_works() -> None:
    said = run()
    before, _, password = said.rpartition(" ")
    assert before == "Administrator admin created; the password, shown this once:"
    user = authenticate(username="admin", password=password)
    assert user is not None
    assert user.is_active


def test_name_and_password_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTINEL_ADMIN_USER", "ada")
    monkeypatch.setenv("SENTINEL_ADMIN_PASSWORD", "correct horse")
    assert run() == "Administrator ada created with the password of SENTINEL_ADMIN_PASSWORD."
    assert authenticate(username="ada", password="correct horse") is not None


def test_a_second_run_changes_nothing() -> None:
    ensure_admin("admin", "first")
    assert run() == "An administrator exists already."
    assert authenticate(username="admin", password="first") is not None
    assert get_user_model().objects.count() == 1
