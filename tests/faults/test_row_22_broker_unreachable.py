"""Row 22: nothing comes through to the broker and nothing back, on connections that stay open; then new ones work."""

from __future__ import annotations

import time

import pytest

from tests.faults.arena import Arenas
from tests.faults.detour import REQUEST_TIMEOUT_SECONDS, behind
from tests.faults.proxy import Fault, Proxy

pytestmark = pytest.mark.fault

BLACKHOLE_SECONDS = REQUEST_TIMEOUT_SECONDS + 4.0
BOUND_SECONDS = REQUEST_TIMEOUT_SECONDS + 30.0


def test_row_22_a_broker_that_swallows_everything_is_reached_again_over_new_connections(arenas: Arenas) -> None:
    with (
        Proxy() as proxy,
        behind(arenas.servers, link := proxy.link()) as servers,
        Arenas(servers).open(row="22", fault="Kafka, nothing comes through") as arena,
    ):
        arena.start_load(per_second=800)
        with arena.fault() as fault:
            link.spoil(Fault(blackhole=True))
            fault.note(f"{link.connections} connections")
            time.sleep(BLACKHOLE_SECONDS)
            link.heal()
        figures = arena.finish()
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS
