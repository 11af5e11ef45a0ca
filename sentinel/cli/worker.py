"""`sentinel worker`: ingest what the bridge dispatches, until SIGTERM."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

NAME = "worker"
HELP = "ingest what the bridge dispatches"
# One waits for PostgreSQL while the other computes, also on a single core.
MINIMUM_CONCURRENCY = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "A Celery worker with one process per core. Run as many as you like, on any machine."
    parser.add_argument("--concurrency", type=int, metavar="N", help="processes (default: one per core, at least 2)")


def run(args: argparse.Namespace) -> int:
    from sentinel.cli.role import take_role

    take_role(NAME)

    from celery.signals import worker_ready
    from django.conf import settings

    from sentinel.celery import app
    from sentinel.ready import notify_ready

    def announce(**_: Any) -> None:
        notify_ready()

    worker_ready.connect(announce, weak=False)
    celery_worker: Any = import_module("celery.apps.worker")
    celery_worker.safe_say = _unfailing(celery_worker.safe_say)
    _load_before_fork()
    concurrency = args.concurrency or max(MINIMUM_CONCURRENCY, len(os.sched_getaffinity(0)))
    app.worker_main(
        [
            "--quiet",  # no banner: printing it to a full disk would end the worker
            "worker",
            f"--concurrency={concurrency}",
            f"--queues={settings.SENTINEL_QUEUE_INGEST},{settings.SENTINEL_QUEUE_BEHIND},{settings.SENTINEL_QUEUE_BEAT}",
            f"--hostname=sentinel-{os.getpid()}@%h",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            f"--loglevel={settings.SENTINEL_LOG_LEVEL}",
        ]
    )
    # The stubs are wrong: after a clean stop it returns.
    return 0  # type: ignore[unreachable]


def _load_before_fork() -> None:
    """Do once in the parent what each process would otherwise do within its first transaction."""
    import numpy.ma  # noqa: F401

    from sentinel.build import build_id

    build_id()


def _unfailing(say: Callable[..., None]) -> Callable[..., None]:
    """Return Celery's way to say that it stops, which is part of its signal handlers: a full disk must not break them."""

    def say_if_possible(*arguments: Any) -> None:
        with suppress(OSError):
            say(*arguments)

    return say_if_possible
