"""What the processes load."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sentinel.apps import ROLES_WITHOUT_PAGES

_PROGRAM = "import django; django.setup(); from django.contrib import admin; print(len(admin.site._registry) > 0)"


@pytest.mark.parametrize(
    ("role", "has_admin"), [*((role, False) for role in sorted(ROLES_WITHOUT_PAGES)), ("web", True), ("cli", True)]
)
def test_only_processes_that_serve_pages_load_the_admin(role: str, *, has_admin: bool) -> None:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "sentinel.settings", "SENTINEL_ROLE": role}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == str(has_admin)
