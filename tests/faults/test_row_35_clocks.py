"""Row 35: the clocks of bridge, worker and dispatchers jump an hour ahead and back, under load.

Two dispatchers, whose clocks are two hours apart, share the alerts of a receiver that takes its time: had a lease ended
by the clock of either, the receiver would be sent the alert again.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from alerting.signature import verify
from sentinel.child import wait_until
from tests.alerting.receiver import Answer, Receiver, Request
from tests.faults.arena import Arena, Arenas
from tests.faults.reference import Reference
from tests.faults.setting import read_setting

pytestmark = pytest.mark.fault

ROLES = ("bridge", "worker", "alerts", "alerts-2")
JUMPS: list[Mapping[str, str]] = [
    {"bridge": "+1h", "worker": "-1h", "alerts": "+1h", "alerts-2": "-1h"},
    {"bridge": "-1h", "worker": "+1h", "alerts": "-1h", "alerts-2": "+1h"},
    {"bridge": "+0", "worker": "+0", "alerts": "+0", "alerts-2": "+0"},
    {"bridge": "-1h", "worker": "-1h", "alerts": "-1h", "alerts-2": "+1h"},
]
SECRET = "whsec_" + base64.b64encode(b"of the fault suite, 32 bytes long").decode()
RULE = """
    INSERT INTO alerting_alertrule (name, project_id, enabled, anomaly_types, min_severity, service_pattern,
        model_pattern, cooldown_seconds, max_age_seconds, max_attempts, channel, webhook_url, webhook_secret,
        webhook_previous_secret, disabled_reason, created_at)
    SELECT 'clocks', project_id, true, '[]', 'low', '*', '*', 300, 3600, 3, 'webhook', %s, %s, '', '', now()
    FROM ingestion_topic WHERE name = %s
"""
WAITING = "SELECT count(*) FROM alerting_outboxentry WHERE status IN ('pending', 'claimed')"
DELIVERED = """
    SELECT id::text, claims, attempts, extract(epoch FROM settled_at - created_at)::float8
    FROM alerting_outboxentry
    WHERE status = 'delivered' AND rule_id IN (SELECT id FROM alerting_alertrule WHERE name = 'clocks')
"""
# While it answers a clock jumps, and a lease would be over.
ANSWER_SECONDS = 1.0
DELIVERED_SECONDS = 20.0
# Less than a clock is wrong by, and more than the row takes.
SIGNED_WITHIN_SECONDS = 1_800
# libfaketime 0.9.10 refuses the call by which Python 3.11 and later sleep.
SLEEP = """
import select, time
time.sleep = lambda seconds: select.select([], [], [], seconds) and None
"""
# A busy machine starts some ranges late.
SENT_AGAIN_MOST = 10
SEEN_SECONDS = 1.5
BOUND_SECONDS = 5.0


def test_row_35_nothing_expires_because_a_clock_jumps(arenas: Arenas) -> None:
    with (
        Receiver(Answer(delay_seconds=ANSWER_SECONDS)) as receiver,
        arenas.open(row="35", fault="clocks an hour ahead or back", roles=[]) as arena,
    ):
        arena.witness.execute(RULE, receiver.url, SECRET, arena.topic)
        arena.reference = Reference(arena.log, read_setting(arena.witness, arena.topic), arena.topic)
        for role in ROLES:
            set_clock(arena, role, "+1h" if role == "worker" else "+0")
            variables = {**own_clock(arena, role), "SENTINEL_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8"}
            arena.start(role, role.split("-")[0], environment=variables)
        arena.start_load(per_second=1_000)
        for jump in JUMPS:
            with arena.fault() as fault:
                fault.note(jump)
                for role, shift in jump.items():
                    set_clock(arena, role, shift)
                time.sleep(SEEN_SECONDS)
        assert hours_ahead(arena.lines("worker", "ready")) == 1
        assert "events_" not in dropped_days(arena, "+60d")
        assert arena.drain()
        assert wait_until(lambda: arena.witness.value(WAITING) == 0, timeout_seconds=60.0), "alerts still wait"
        delivered = arena.witness.rows(DELIVERED)
        slowest = max((seconds for *_, seconds in delivered), default=0.0)
        arena.remarks.append(f"{len(delivered)} alerts delivered, each once, within {slowest:.1f} s")
        figures = arena.finish()
        assert hours_ahead(arena.lines("bridge", "bridge.stopped")) == -1
        again = arena.lines("bridge", "bridge.dispatch_again")
        lost = [line for role in ("alerts", "alerts-2") for line in arena.lines(role, "lease")]
    assert lost == []
    assert_delivered_once(delivered, receiver.requests, within_seconds=DELIVERED_SECONDS * arena.slowness)
    # Leases go by the database's clock; by their own, bridges would send every range again in every step.
    assert not [line for line in again if "works_too_long" in line]
    assert len(again) <= SENT_AGAIN_MOST
    assert figures.standstill_max_seconds is not None
    assert figures.standstill_max_seconds <= BOUND_SECONDS * arena.slowness


def assert_delivered_once(
    delivered: Sequence[tuple[str, int, int, float]], requests: Sequence[Request], *, within_seconds: float
) -> None:
    """Check that each alert was claimed once, sent once, and in time, with the right time in its signature."""
    assert delivered
    sent = [
        verify(item.headers, item.body, secret=SECRET, now_seconds=time.time(), tolerance_seconds=SIGNED_WITHIN_SECONDS)
        for item in requests
    ]
    assert sorted(sent) == sorted(alert_id for alert_id, *_ in delivered)
    assert {(claims, attempts) for _, claims, attempts, _ in delivered} == {(1, 1)}
    assert max(seconds for *_, seconds in delivered) <= within_seconds


def dropped_days(arena: Arena, shift: str) -> str:
    """Drop the expired days on a host whose clock is wrong by this much; return the names of what went."""
    set_clock(arena, "beat", shift)
    program = "import django; django.setup(); from ingestion.partitions import drop_expired; print(drop_expired())"
    environment = {**os.environ, **arena.environment, **own_clock(arena, "beat")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def own_clock(arena: Arena, role: str) -> dict[str, str]:
    """Return the environment that gives a process a clock of its own, read from a file every second."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    assert found, "libfaketime is missing: apt-get install libfaketime"
    (arena.directory / "sitecustomize.py").write_text(SLEEP)
    return {
        "LD_PRELOAD": str(found[0]),
        "PYTHONPATH": str(arena.directory),
        "FAKETIME_TIMESTAMP_FILE": str(arena.directory / f"{role}.clock"),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def set_clock(arena: Arena, role: str, shift: str) -> None:
    """Let the clock of a process go wrong by this much, such as "+1h"."""
    (arena.directory / f"{role}.clock").write_text(shift)


def hours_ahead(lines: list[str]) -> int:
    """Return how far ahead the clock was that stamped the first of these lines, in hours."""
    stamp = re.match(r"\S+Z", lines[0])
    assert stamp, lines[0]
    return round((datetime.fromisoformat(stamp[0]) - datetime.now(UTC)).total_seconds() / 3600)
