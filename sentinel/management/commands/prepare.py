"""`manage.py prepare`: make an empty or an older installation ready for this version; does nothing the second time.

1. Apply the migrations; they bring the default project and its topics.
2. Make the missing daily partitions.
3. Create the topics in the log, waiting for Kafka if it has only just started.
4. With --admin-password-file: make the user `admin`, if nobody can log in to the admin yet.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from ingestion.log.base import LogUnavailable
from ingestion.log.configured import create_topics
from sentinel.installation import kept_secret

LOG_TIMEOUT_SECONDS = 60.0
LOG_RETRY_SECONDS = 0.5


class Command(BaseCommand):
    help = "Apply migrations, make partitions and topics; safe to repeat."
    # Like `migrate`, which it begins with: checks of the database cannot pass before it.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--admin-password-file",
            type=Path,
            metavar="FILE",
            help="make the user `admin` with the password in FILE (made if missing), unless there is a superuser",
        )

    def handle(self, *args: Any, admin_password_file: Path | None, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        call_command("ensure_partitions", stdout=self.stdout)
        _create_topics()
        if admin_password_file is not None and _create_admin(admin_password_file):
            self.stdout.write(f"user admin created, password in {admin_password_file}")


def _create_topics() -> None:
    deadline = time.monotonic() + LOG_TIMEOUT_SECONDS
    while True:
        try:
            create_topics(settings.SENTINEL_DEFAULT_TOPICS)
            return
        except LogUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(LOG_RETRY_SECONDS)


def _create_admin(password_file: Path) -> bool:
    users = get_user_model()._default_manager
    if users.filter(is_superuser=True).exists():
        return False
    users.create_superuser("admin", "", kept_secret(password_file))
    return True
