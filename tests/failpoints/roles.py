"""What a forked child does: a worker's process or a bridge, told step by step what to do next."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import astuple
from typing import Any

from django.conf import settings
from django.db import connection, connections

from detection.baselines import BaselineStore
from detection.cache import connect
from ingestion.bridge import Bridge, BridgeLimits
from ingestion.cursor import Dispatch
from ingestion.log.base import Log
from ingestion.log.kafka import KafkaLog
from ingestion.log.postgres import PostgresLog
from ingestion.membership import Alone, KafkaMembership, Membership
from ingestion.scrub import Scrubber
from ingestion.scrub.payload import scrub_bytes
from sentinel.build import build_id
from sentinel.cpu_limit import cpu_limit
from sentinel.pipeline import Pipeline
from tests.failpoints.channel import Channel
from tests.failpoints.poison import PoisonedLog

BATCH_RECORDS = 200
HARD_LIMIT_SECONDS = 60.0
KAFKA_TIMEOUT_SECONDS = 10


class Restless(Alone):
    """Hardly waits: the tests say when a bridge takes its next step."""

    def wait(self, seconds: float, *, ends: Mapping[tuple[str, int], int], idle: bool) -> None:
        time.sleep(0.002)


def warm_up() -> None:
    """Load what the first range of a process loads, without a connection to anything."""
    import numpy.ma  # noqa: F401  # a part of numpy that loads itself when it is first used

    scrub_bytes(b"write to jane.doe@example.com", Scrubber(key=None, user_key=b"k" * 32))
    build_id()


def new_bridge(
    send: Callable[[Dispatch], None],
    *,
    hard_limit_seconds: float = HARD_LIMIT_SECONDS,
    log: Log | None = None,
    membership: Membership | None = None,
) -> Bridge:
    """Return a real bridge, by default alone and on the log in PostgreSQL."""
    return Bridge(
        log=log or PostgresLog(),
        membership=membership or Restless(),
        send=send,
        broker_generation=lambda: "the same",
        limits=BridgeLimits(batch_records=BATCH_RECORDS, hard_limit_seconds=hard_limit_seconds, discovery_seconds=0.0),
    )


def play_worker(request: Mapping[str, Any], channel: Channel) -> None:
    """Ingest each `task` that comes, and say its `outcome`, or what it `raised`; `sent` is a range handed over.

    `checkpoints` of the request: every batch writes one; otherwise only the first that this process has not loaded.
    `poisoned`: the log is a `PoisonedLog`. `cpu_seconds`: how much CPU one range may use.
    """
    prepare_session(request)
    clock = _Hours() if request.get("checkpoints") else time.time
    log: Log = PoisonedLog() if request.get("poisoned") else PostgresLog()
    pipeline = Pipeline(
        log=log, baselines=BaselineStore(connect(), clock=clock), send=lambda task: channel.say(sent=astuple(task))
    )
    while (order := channel.hear()) is not None:
        try:
            with cpu_limit(seconds=request.get("cpu_seconds", settings.SENTINEL_RECORD_CPU_SECONDS)):
                outcome = pipeline.ingest(Dispatch(*order["task"]))
        except Exception as error:  # noqa: BLE001  # The task boundary, as in `sentinel.tasks`.
            channel.say(raised=type(error).__name__)
        else:
            channel.say(outcome=outcome.value)
    pipeline.close()
    connections.close_all()


def play_bridge(request: Mapping[str, Any], channel: Channel) -> None:
    """Take a step for each `step` that comes and say whether it `stepped`; `sent` is a range that was dispatched.

    `brokers` and `group` of the request: the log is Kafka, and the bridge a member of this group.
    """
    prepare_session(request)
    bridge = new_bridge(lambda task: channel.say(sent=astuple(task)), **_on_kafka(request))
    while channel.hear() is not None:
        try:
            channel.say(stepped=bridge.step())
        except Exception as error:  # noqa: BLE001  # `sentinel bridge` ends here and is started again.
            channel.say(raised=type(error).__name__)
    bridge.close()
    connections.close_all()


def _on_kafka(request: Mapping[str, Any]) -> dict[str, Any]:
    brokers = request.get("brokers")
    if brokers is None:
        return {}
    member = KafkaMembership(brokers, group=request["group"], security={}, timeout_seconds=KAFKA_TIMEOUT_SECONDS)
    return {
        "log": KafkaLog(brokers, security={}, request_timeout_seconds=KAFKA_TIMEOUT_SECONDS),
        "membership": member,
    }


def prepare_session(request: Mapping[str, Any]) -> None:
    """Do what `sentinel.worker_process` does, and add the request's settings to the database sessions to come."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    options = connection.settings_dict["OPTIONS"]
    options["options"] = f"{options['options']} {request.get('session', '')}"


class _Hours:
    """A clock on which an hour passes between two looks."""

    def __init__(self) -> None:
        self._now = time.time()

    def __call__(self) -> float:
        self._now += 3_600
        return self._now


ROLES: Mapping[str, Callable[[Mapping[str, Any], Channel], None]] = {"worker": play_worker, "bridge": play_bridge}
