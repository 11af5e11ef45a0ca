"""Row 22: nothing comes through to the broker and nothing back, on connections that stay open; then new ones work."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy

import pytest

from sentinel import ports
from sentinel.services.kafka import Kafka
from tests.faults.arena import Arenas
from tests.faults.proxy import LOOPBACK, Fault, Link, Proxy
from tests.faults.servers import Server, Servers

pytestmark = pytest.mark.fault

# Of Kafka's clients, the load's among them.
REQUEST_TIMEOUT_SECONDS = 10.0
BLACKHOLE_SECONDS = REQUEST_TIMEOUT_SECONDS + 4.0
BOUND_SECONDS = REQUEST_TIMEOUT_SECONDS + 30.0


def test_row_22_a_broker_that_swallows_everything_is_reached_again_over_new_connections(arenas: Arenas) -> None:
    with (
        Proxy() as proxy,
        behind(arenas.servers, proxy.link()) as (servers, link),
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


@contextmanager
def behind(servers: Servers, link: Link) -> Iterator[tuple[Servers, Link]]:
    """Give the same servers with a broker of their own, which every client reaches over the link only."""
    directory = servers.directory / "unreachable"
    (directory / "logs").mkdir(parents=True)
    service = Kafka(directory, port=ports.any_free_port(), advertised_port=link.port)
    link.target = (LOOPBACK, service.port)
    others = copy(servers)
    others.kafka = Server(service, log_directory=directory / "logs")
    others.by_name = {**servers.by_name, "kafka": others.kafka}
    try:
        yield others, link
    finally:
        others.kafka.kill()
