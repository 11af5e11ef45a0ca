"""A broker that dies, hangs or is cut off: bridge and reader wait quietly, and go on soon after it is back.

The figures are printed (`pytest -rP`). The aims are 5 s after a broker is back, the request timeout and 30 s after a
blackhole, 60 s for a half-open connection, and a fifth of a core meanwhile; the bounds leave room for a loaded machine.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import psutil
import pytest

from ingestion import cursor as cursors
from ingestion.bridge import Bridge, BridgeLimits
from ingestion.cursor import Dispatch
from ingestion.log.base import LogUnavailable
from ingestion.membership import KafkaMembership
from ingestion.models import Project, Topic
from ingestion.partitions import ensure_partitions
from sentinel import ports
from sentinel.services.base import run_service
from sentinel.services.kafka import Kafka
from tests.faults.proxy import Fault, Link, Proxy
from tests.ingestion.log.conftest import KafkaTopic, new_log
from tests.services import KafkaBroker

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

REQUEST_SECONDS = 10.0
BACK_SECONDS = 10.0
QUIET_SHARE_OF_A_CORE = 0.2


@dataclass
class Watch:
    """A bridge with a seat in a group, and a reader, both on one topic."""

    topic: KafkaTopic
    sent: list[Dispatch] = field(default_factory=list)

    def __post_init__(self) -> None:
        ensure_partitions()
        project = Project.objects.create(slug=self.topic.name, name=self.topic.name)
        Topic.objects.create(name=self.topic.name, project=project)
        self.reader = new_log(self.topic.brokers, request_timeout_seconds=REQUEST_SECONDS)
        membership = KafkaMembership(
            self.topic.brokers.split(","), group=str(uuid.uuid4()), security={}, timeout_seconds=REQUEST_SECONDS
        )
        self.bridge = Bridge(
            log=new_log(self.topic.brokers, request_timeout_seconds=REQUEST_SECONDS),
            membership=membership,
            send=self.sent.append,
            broker_generation=lambda: "the same",
            limits=BridgeLimits(batch_records=100, hard_limit_seconds=60),
        )
        self.membership = membership
        self.topic.append(b"first")
        self.until_sent()
        self.reader.read(self.topic.name, 0, 0, 1, max_bytes=100)
        # What the bridge must find after the fault; it has not looked since, and would send it at once.
        cursors.end_attempt(self.sent.pop(), retry_seconds=0)
        self.topic.append(*[b"next"] * 10)

    def until_sent(self, *, seconds: float = 120) -> float:
        """Let the bridge work until it sends the range; return how long it took."""
        begun = time.monotonic()
        while not self.sent:
            assert time.monotonic() - begun < seconds, f"nothing was sent within {seconds} s"
            self.bridge.step()
        return time.monotonic() - begun

    def until_joined(self, *, seconds: float = 60) -> float:
        begun = time.monotonic()
        while self.membership.owned() != {(self.topic.name, 0)}:
            assert time.monotonic() - begun < seconds, "the group did not come back"
            self.bridge.step()
        return time.monotonic() - begun

    def suffer(self, seconds: float) -> float:
        """Let the bridge work in a fault; return the share of a core that this process used."""
        process = psutil.Process()
        begun, used = time.monotonic(), sum(process.cpu_times()[:2])
        while time.monotonic() - begun < seconds:
            self.bridge.step()
        assert not self.sent
        return (sum(process.cpu_times()[:2]) - used) / (time.monotonic() - begun)

    def until_read(self, *, seconds: float = 120) -> float:
        begun = time.monotonic()
        while True:
            assert time.monotonic() - begun < seconds, "nothing was read"
            try:
                if self.reader.read(self.topic.name, 0, 1, 11, max_bytes=1_000).next_offset == 11:
                    return time.monotonic() - begun
            except LogUnavailable:
                time.sleep(0.1)

    def close(self) -> None:
        self.bridge.close()
        self.reader.close()
        self.topic.close()


@pytest.fixture
def watch(kafka: KafkaBroker) -> Iterator[Watch]:
    found = Watch(KafkaTopic(kafka.brokers))
    yield found
    found.close()


def test_a_killed_broker_costs_seconds_once_it_is_back(watch: Watch, kafka: KafkaBroker) -> None:
    kafka.kill()
    share = watch.suffer(12)
    kafka.restart()
    sent = watch.until_sent()
    read = watch.until_read()
    joined = watch.until_joined()
    print(f"killed: CPU {share:.1%}, sent after {sent:.1f} s, read after {read:.1f} s, joined after {joined:.1f} s")
    assert share < QUIET_SHARE_OF_A_CORE
    assert sent + read < BACK_SECONDS


def test_a_broker_that_hangs_for_20_s_costs_seconds_once_it_runs(watch: Watch, kafka: KafkaBroker) -> None:
    kafka.suspend()
    try:
        share = watch.suffer(20)
    finally:
        kafka.resume()
    sent = watch.until_sent()
    read = watch.until_read()
    print(f"hung: CPU {share:.1%}, sent after {sent:.1f} s, read after {read:.1f} s")
    assert share < QUIET_SHARE_OF_A_CORE
    assert sent + read < BACK_SECONDS


@pytest.fixture
def _no_logs() -> Iterator[None]:
    """What pytest keeps of the logs holds exceptions, and these their sockets."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("_no_logs")
def test_an_outage_leaves_no_thread_and_no_socket_behind(watch: Watch, kafka: KafkaBroker) -> None:
    watch.topic.close()
    watch.until_joined()
    watch.sent.clear()
    process = psutil.Process()
    threads, files = threading.active_count(), process.num_fds()
    kafka.kill()
    watch.suffer(15)
    kafka.restart()
    watch.until_sent()
    watch.until_joined()
    gc.collect()
    assert threading.active_count() <= threads
    assert process.num_fds() <= files + 2


@dataclass
class ProxiedBroker:
    brokers: str
    link: Link


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxiedBroker]:
    """Give a broker that sends its clients through the proxy."""
    directory = tmp_path_factory.mktemp("kafka")
    with Proxy() as proxy:
        link = proxy.link()
        service = Kafka(directory, port=ports.any_free_port(), advertised_port=link.port)
        link.target = ("127.0.0.1", service.port)
        child = run_service(service, log_directory=directory)
        yield ProxiedBroker(service.url, link)
        child.kill()


@pytest.fixture
def far_watch(proxied: ProxiedBroker) -> Iterator[Watch]:
    proxied.link.heal()
    found = Watch(KafkaTopic(proxied.brokers))
    yield found
    proxied.link.heal()
    found.close()


def test_a_blackhole_costs_at_most_the_request_timeout_and_30_s(far_watch: Watch, proxied: ProxiedBroker) -> None:
    proxied.link.spoil(Fault(blackhole=True))
    share = far_watch.suffer(25)
    proxied.link.heal()
    sent = far_watch.until_sent()
    read = far_watch.until_read()
    print(f"blackhole: CPU {share:.1%}, sent after {sent:.1f} s, read after {read:.1f} s")
    assert share < QUIET_SHARE_OF_A_CORE
    assert sent < REQUEST_SECONDS + 30
    assert read < REQUEST_SECONDS + 30


def test_half_open_connections_are_noticed_within_60_s(far_watch: Watch, proxied: ProxiedBroker) -> None:
    far_watch.until_joined()
    far_watch.sent.clear()
    proxied.link.freeze()
    sent = far_watch.until_sent()
    read = far_watch.until_read()
    print(f"half-open: sent after {sent:.1f} s, read after {read:.1f} s more")
    assert sent + read < 60


def test_reset_connections_are_made_again(far_watch: Watch, proxied: ProxiedBroker) -> None:
    proxied.link.reset()
    sent = far_watch.until_sent()
    read = far_watch.until_read()
    print(f"reset: sent after {sent:.1f} s, read after {read:.1f} s more")
    assert sent + read < BACK_SECONDS


def test_a_slow_connection_is_slow_and_not_stuck(far_watch: Watch, proxied: ProxiedBroker) -> None:
    proxied.link.spoil(Fault(latency_seconds=0.2, jitter_seconds=0.1))
    assert far_watch.until_sent() < 30
    assert far_watch.until_read() < 30
