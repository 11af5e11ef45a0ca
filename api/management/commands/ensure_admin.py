"""`manage.py ensure_admin`: make the first administrator, once."""

from __future__ import annotations

import os
import secrets
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User, UserManager
from django.core.management.base import BaseCommand
from django.db import transaction

DEFAULT_USER = "admin"


def ensure_admin(username: str = "", password: str = "") -> tuple[str, str] | None:
    """Create an administrator if there is none; return its name and password, or None where there is one.

    Without a name it is called admin; without a password it gets a random one. A user who has the name already becomes
    an administrator and gets the password.
    """
    users: UserManager[User] = get_user_model().objects
    username = username or DEFAULT_USER
    password = password or secrets.token_urlsafe(12)
    with transaction.atomic():
        if users.filter(is_superuser=True, is_active=True).exists():
            return None
        user, _created = users.get_or_create(username=username)
        user.is_superuser = user.is_staff = user.is_active = True
        user.set_password(password)
        user.save()
    return username, password


class Command(BaseCommand):
    """Prints a generated password this once; one from the environment is not repeated."""

    help = (
        "Create the administrator SENTINEL_ADMIN_USER (default: admin) with SENTINEL_ADMIN_PASSWORD (default: a random "
        "one, printed once) unless there is an administrator already."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Create the administrator and say so."""
        given = os.environ.get("SENTINEL_ADMIN_PASSWORD", "")
        made = ensure_admin(os.environ.get("SENTINEL_ADMIN_USER", ""), given)
        if made is None:
            self.stdout.write("An administrator exists already.")
        elif given:
            self.stdout.write(f"Administrator {made[0]} created with the password of SENTINEL_ADMIN_PASSWORD.")
        else:
            self.stdout.write(f"Administrator {made[0]} created; the password, shown this once: {made[1]}")
