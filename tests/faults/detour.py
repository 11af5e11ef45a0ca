"""A broker that every client reaches over a link of the proxy only, so that the network to it can fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy

from sentinel import ports
from sentinel.services.kafka import Kafka
from tests.faults.proxy import LOOPBACK, Link
from tests.faults.servers import Server, Servers

# Of Kafka's clients, the load's among them.
REQUEST_TIMEOUT_SECONDS = 10.0


@contextmanager
def behind(servers: Servers, link: Link) -> Iterator[Servers]:
    """Give the same servers with a broker of their own behind the link."""
    directory = servers.directory / f"behind-{link.port}"
    (directory / "logs").mkdir(parents=True)
    service = Kafka(directory, port=ports.any_free_port(), advertised_port=link.port)
    link.target = (LOOPBACK, service.port)
    others = copy(servers)
    others.kafka = Server(service, log_directory=directory / "logs")
    others.by_name = {**servers.by_name, "kafka": others.kafka}
    try:
        yield others
    finally:
        others.kafka.kill()
