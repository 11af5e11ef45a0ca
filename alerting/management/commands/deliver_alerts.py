from __future__ import annotations

import signal
import threading
import time
from argparse import ArgumentParser
from concurrent.futures import Future, ThreadPoolExecutor
from types import FrameType
from typing import Any

import structlog
from django.core.management.base import BaseCommand
from django.db import close_old_connections, connection
from django.db.utils import DatabaseError, InterfaceError

from alerting.claim import claim_due
from alerting.deliver import Courier, default_courier
from alerting.models import OutboxEntry
from alerting.retention import measure_outbox

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.5
GAUGE_SECONDS = 5.0
# After a database error: short, because leases of others run on.
ERROR_PAUSE_SECONDS = 2.0


class Command(BaseCommand):
    """The alert worker; run as many as you like.

    1. Claim due entries of the outbox, at most as many as there are free threads (`alerting.claim`).
    2. Hand each to a thread, which sends it and records the outcome (`alerting.deliver`).
    3. If there was nothing to do, wait for half a second or until a thread is free.
    4. On SIGTERM or SIGINT stop claiming, finish what is being sent (at most a channel's time limit), exit.

    A worker that is killed leaves its entries to their leases; another one sends them again under the same id.
    Polling instead of LISTEN/NOTIFY: a NOTIFY serialises the commits of all ingest transactions, two small index
    look-ups a second do not.
    """

    help = "Delivers the alerts of the outbox"
    courier: Courier | None = None

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--threads", type=int, default=4, help="Alerts to send at the same time (default 4).")
        parser.add_argument("--once", action="store_true", help="Exit when nothing is due any more.")

    def handle(self, *, threads: int, once: bool, **options: Any) -> None:
        self.shutdown = False
        self.threads = threads
        self.running: set[Future[None]] = set()
        self.freed = threading.Event()
        self.active_courier = self.courier or default_courier()
        self.gauges_due = 0.0
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.on_signal)
            signal.signal(signal.SIGINT, self.on_signal)
        log.info("alert_worker_started", threads=threads)
        with ThreadPoolExecutor(threads, thread_name_prefix="alerts") as self.executor:
            self.loop(once=once)
        log.info("alert_worker_stopped")

    def on_signal(self, signum: int, frame: FrameType | None) -> None:
        # A flag and nothing else: a handler that touches a lock which the main thread holds would hang.
        self.shutdown = True

    def loop(self, *, once: bool) -> None:
        while not self.shutdown:
            self.freed.clear()
            try:
                worked = self.claim_and_submit()
                self.update_gauges()
            except (DatabaseError, InterfaceError) as error:
                if once:
                    raise
                log.error("alert_worker_database_error", error=type(error).__name__)
                close_old_connections()
                time.sleep(ERROR_PAUSE_SECONDS)
                continue
            if once and not worked and not self.running:
                return
            if not worked:
                self.freed.wait(POLL_SECONDS)

    def claim_and_submit(self) -> bool:
        """Claim due entries and hand them to threads; return whether there were any due and room for them."""
        self.running = {future for future in self.running if not future.done()}
        free = self.threads - len(self.running)
        if free <= 0:
            return False
        claimed = claim_due(limit=free, now=self.active_courier.clock())
        for entry in claimed.entries:
            future = self.executor.submit(self.deliver, entry)
            self.running.add(future)
            future.add_done_callback(lambda _: self.freed.set())
        return claimed.scanned > 0

    def deliver(self, entry: OutboxEntry) -> None:
        try:
            self.active_courier.deliver(entry)
        except Exception as error:  # noqa: BLE001  # the thread's boundary; the lease brings the entry back
            log.error("alert_worker_thread_error", alert_id=str(entry.id), error=type(error).__name__)
        finally:
            # Alerts are few: threads that wait need not keep a database session each.
            connection.close()

    def update_gauges(self) -> bool:
        """Measure the outbox every few seconds; return whether it was time."""
        if time.monotonic() < self.gauges_due:
            return False
        self.gauges_due = time.monotonic() + GAUGE_SECONDS
        measure_outbox(now=self.active_courier.clock())
        return True
