"""`sentinel demo`: see the product at work."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sentinel import runtime
    from sentinel.demo.receiver import Receiver
    from sentinel.demo.report import Address
    from sentinel.demo.screen import Screen
    from sentinel.demo.session import Session

NAME = "demo"
HELP = "run everything with realistic load and injected faults"
DESCRIPTION = """\
Run everything (as `sentinel up` does, in a temporary directory unless --data-dir is given), send half an hour of
history and then traffic with injected faults through Kafka, and show the anomalies as they are found, with their
explanation and the fault that each matches, and the alerts that a local webhook receiver gets: at most one for each
(project, service, model, type) and 5-minute window. Ends with Ctrl-C, or by itself with --once.
"""
POLL_SECONDS = 0.1
STATUS_EVERY_SECONDS = 15.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from sentinel.demo.pace import speed

    parser.description = DESCRIPTION
    parser.add_argument("--once", action="store_true", help="one round of faults, a summary, stop everything")
    parser.add_argument("--json", action="store_true", help="print one JSON document at the end, all else to stderr")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the generated traffic (default: 1)")
    parser.add_argument("--rate", type=float, default=8.0, metavar="N", help="events a second (default: 8)")
    parser.add_argument(
        "--speed",
        type=speed,
        default=None,
        metavar="N|max",
        help="how fast the faults follow: with --once relative to event time (default: max), else to real time",
    )
    parser.add_argument("--timeout", type=float, default=300.0, metavar="S", help="give up --once after this")
    parser.add_argument("--port", type=int, metavar="N", help="of the web process")


def run(args: argparse.Namespace) -> int:
    from rich.console import Console

    from sentinel.demo.own_installation import StartError, own_installation
    from sentinel.demo.receiver import NETWORK, Receiver
    from sentinel.demo.screen import Screen

    begun = _process_start()
    secret = _new_secret()
    screen = Screen(Console(stderr=args.json))
    networks = ",".join(filter(None, [os.environ.get("SENTINEL_WEBHOOK_ALLOWED_NETWORKS"), NETWORK]))
    try:
        with (
            Receiver(secret) as receiver,
            own_installation(
                Path(args.data_dir) if args.data_dir else None,
                environment={"SENTINEL_WEBHOOK_ALLOWED_NETWORKS": networks},
                port=args.port,
                timeout_seconds=args.timeout,
                report=screen.say,
            ) as record,
        ):
            return _Demo(args, screen, receiver, record, begun).run(secret)
    except StartError as error:
        print(f"sentinel demo: {error}", file=sys.stderr)
        return 1


def _process_start() -> float:
    """Return when this process began, on the monotonic clock: imports count."""
    import psutil

    return time.monotonic() - (time.time() - psutil.Process().create_time())


def _new_secret() -> str:
    from alerting.signature import new_secret

    return new_secret()


class _Demo:
    """The part of the command that runs while the installation does."""

    def __init__(
        self, args: argparse.Namespace, screen: Screen, receiver: Receiver, record: runtime.Runtime, begun: float
    ) -> None:
        self._args = args
        self._screen = screen
        self._receiver = receiver
        self._record = record
        self._begun = begun
        self._ready = time.monotonic()
        self._said_at = time.monotonic()

    def run(self, secret: str) -> int:
        import django

        django.setup()

        from sentinel.demo.session import DemoError
        from sentinel.demo.sink import SinkError

        self._say_where()
        is_complete = True
        try:
            session = self._session()
            session.start(secret=secret)
            try:
                is_complete = self._watch_once(session) if self._args.once else self._watch(session)
            except KeyboardInterrupt:
                self._screen.say("stopping")
            finally:
                session.load.stop()
        except (DemoError, SinkError) as error:
            print(f"sentinel demo: {error}", file=sys.stderr)
            return 1
        found = self._document(session)
        self._screen.summary(found)
        if self._args.json:
            print(json.dumps(found, indent=1))
        if not is_complete:
            print(f"sentinel demo: not done within {self._args.timeout:g} s (--timeout)", file=sys.stderr)
            return 1
        return 0

    def _session(self) -> Session:
        from django.conf import settings

        from sentinel.demo import load
        from sentinel.demo.match import Matcher
        from sentinel.demo.session import Session
        from sentinel.demo.sink import open_sink

        args = self._args
        segments = load.once if args.once else load.live
        matcher = Matcher()
        return Session(
            load=load.Load(
                segments(seed=args.seed, per_second=args.rate, speed=args.speed, now_us=time.time_ns() // 1_000),
                open_sink(settings.SENTINEL_TOPIC),
                matcher,
            ),
            matcher=matcher,
            receiver=self._receiver,
            topic=settings.SENTINEL_TOPIC,
        )

    def _watch_once(self, session: Session) -> bool:
        """Show what is found until all is; return False where the time was not enough."""
        deadline = self._begun + self._args.timeout
        while not session.is_settled():
            self._show(session)
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        for item in session.wait_for_alerts():
            self._screen.show(item)
        return True

    def _watch(self, session: Session) -> bool:
        """Show what is found until Ctrl-C."""
        while True:
            self._show(session)
            if time.monotonic() - self._said_at > STATUS_EVERY_SECONDS:
                self._said_at = time.monotonic()
                matched = sum(item.fault is not None for item in session.found)
                self._screen.say(
                    f"-- {session.load.sent:,} events sent, {session.ingested().stored:,} stored, {matched:,} anomalies"
                    f" of injected faults, {len(session.found) - matched:,} others,"
                    f" {len(self._receiver.alerts):,} alerts --"
                )
            time.sleep(POLL_SECONDS)

    def _show(self, session: Session) -> None:
        for item in session.news():
            self._screen.show(item)

    def _say_where(self) -> None:
        address = self._address()
        see, password = address.document(), address.password or "as set up"
        self._screen.say(
            f"ready after {self._ready - self._begun:.1f} s\n"
            f"API    {see['anomalies']}\n"
            f"admin  {see['admin']}  user {see['admin_user']}, password {password}"
        )

    def _address(self) -> Address:
        from sentinel.demo.report import Address
        from sentinel.installation import ADMIN_PASSWORD_FILE, data_directory

        path = data_directory() / ADMIN_PASSWORD_FILE
        return Address(self._record.url, "admin", path.read_text().strip() if path.exists() else None)

    def _document(self, session: Session) -> dict[str, Any]:
        from sentinel.demo.report import Timing, document

        first = session.first_match
        return document(
            session,
            seed=self._args.seed,
            address=self._address(),
            timing=Timing(
                ready=self._ready - self._begun,
                first_anomaly=None if first is None else first.seen_at - self._begun,
                total=time.monotonic() - self._begun,
            ),
        )
