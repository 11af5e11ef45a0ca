"""`sentinel beat`: send the tasks that are due, until SIGTERM."""

from __future__ import annotations

import argparse
from typing import Any

NAME = "beat"
HELP = "send the periodic tasks that are due"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Celery's beat. Run one per installation; a second one only sends tasks twice, which is harmless."
    )


def run(args: argparse.Namespace) -> int:
    from sentinel.cli.role import take_role

    take_role(NAME)

    from celery.signals import beat_init
    from django.conf import settings

    from sentinel.celery import app
    from sentinel.ready import notify_ready

    def announce(**_: Any) -> None:
        notify_ready()

    beat_init.connect(announce, weak=False)
    # The schedule's last runs stay in memory: after a restart everything is due at once, and every task may repeat.
    app.Beat(
        scheduler_cls="celery.beat:Scheduler", loglevel=settings.SENTINEL_LOG_LEVEL, quiet=True, redirect_stdouts=False
    ).run()
    return 0
