"""Starting one of Sentinel's processes: its role, Django, and the word that it is ready."""

from __future__ import annotations

import os

from sentinel.ready import notify_ready


def take_role(role: str) -> None:
    """Set Django up for `role`, which decides the time limits of its database sessions."""
    os.environ["SENTINEL_ROLE"] = role

    import django

    django.setup()


def run_command(command: str, *, role: str) -> int:
    """Run a management command that works until it is told to stop; return the exit code."""
    from django.core.management import call_command

    take_role(role)
    notify_ready()
    call_command(command)
    return 0
