"""The proxy of the fault suite does what its faults say: otherwise the suite would test nothing."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.proxy import Fault, Link, Proxy

SOON_SECONDS = 0.3


class EchoServer:
    """Answers every connection with what it sends, and remembers what arrived."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self.received = b""
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(4096):
                self.received += data
                connection.sendall(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def server() -> Iterator[EchoServer]:
    found = EchoServer()
    yield found
    found.close()


@pytest.fixture
def link(server: EchoServer) -> Iterator[Link]:
    with Proxy() as proxy:
        yield proxy.link(server.address)


@contextlib.contextmanager
def connected(link: Link) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", link.port), timeout=5) as client:
        yield client


def asked(client: socket.socket, data: bytes, *, timeout_seconds: float = 5.0) -> bytes:
    """Send, and return the first answer."""
    client.settimeout(timeout_seconds)
    client.sendall(data)
    return client.recv(4096)


def test_without_a_fault_bytes_pass_both_ways(link: Link) -> None:
    with connected(link) as client:
        assert asked(client, b"hello") == b"hello"


def test_latency_delays_each_way(link: Link) -> None:
    with connected(link) as client:
        asked(client, b"x")
        link.spoil(Fault(latency_seconds=0.2))
        begun = time.monotonic()
        asked(client, b"x")
        assert 0.4 <= time.monotonic() - begun < 2


def test_jitter_delays_by_a_random_time(link: Link) -> None:
    with connected(link) as client:
        asked(client, b"x")
        link.spoil(Fault(jitter_seconds=0.1))
        times = []
        for _ in range(5):
            begun = time.monotonic()
            asked(client, b"x")
            times.append(time.monotonic() - begun)
    assert max(times) - min(times) > 0.01
    assert max(times) > 0.05


def test_a_rate_makes_many_bytes_slow(link: Link) -> None:
    with connected(link) as client:
        link.spoil(Fault(bytes_per_second=20_000))
        begun = time.monotonic()
        client.sendall(b"x" * 10_000)
        got = 0
        while got < 10_000:
            got += len(client.recv(4096))
        assert time.monotonic() - begun >= 0.45


def test_a_blackhole_swallows_and_what_it_swallowed_stays_lost(link: Link, server: EchoServer) -> None:
    with connected(link) as client:
        asked(client, b"before")
        link.spoil(Fault(blackhole=True))
        with pytest.raises(TimeoutError):
            asked(client, b"lost", timeout_seconds=SOON_SECONDS)
        link.heal()
        with pytest.raises(TimeoutError):
            asked(client, b"lost too", timeout_seconds=SOON_SECONDS)
        with connected(link) as other:
            assert asked(other, b"after") == b"after"
    assert server.received == b"beforeafter"


def test_a_blackhole_accepts_connections(link: Link) -> None:
    link.spoil(Fault(blackhole=True))
    with connected(link) as client, pytest.raises(TimeoutError):
        asked(client, b"x", timeout_seconds=SOON_SECONDS)


def test_a_frozen_connection_is_half_open_and_new_ones_are_not(link: Link) -> None:
    with connected(link) as client:
        asked(client, b"x")
        link.freeze()
        with pytest.raises(TimeoutError):
            asked(client, b"x", timeout_seconds=SOON_SECONDS)
        with connected(link) as other:
            assert asked(other, b"y") == b"y"


def test_a_reset_is_seen_as_one(link: Link) -> None:
    with connected(link) as client:
        asked(client, b"x")
        link.reset()
        with pytest.raises(ConnectionResetError):
            asked(client, b"x")


def test_a_half_close_ends_the_answers_only(link: Link, server: EchoServer) -> None:
    with connected(link) as client:
        asked(client, b"x")
        link.half_close()
        assert client.recv(10) == b""
        client.sendall(b"y")
        deadline = time.monotonic() + 5
        while server.received != b"xy" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.received == b"xy"


def test_a_cut_delivers_the_request_and_loses_the_answer(link: Link, server: EchoServer) -> None:
    with connected(link) as client:
        asked(client, b"before")
        link.spoil(Fault(cut_after_bytes=7))
        assert asked(client, b"abc") == b"abc"
        with pytest.raises(ConnectionResetError):
            asked(client, b"defgHIJ")
    deadline = time.monotonic() + 5
    while len(server.received) < 13 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.received == b"beforeabcdefg"


def test_a_lost_answer_is_one_to_a_request_that_has_arrived(link: Link, server: EchoServer) -> None:
    with connected(link) as client:
        asked(client, b"before")
        link.lose_answers()
        with pytest.raises(ConnectionResetError):
            asked(client, b"request")
        with connected(link) as other:
            assert asked(other, b"after") == b"after"
    assert server.received == b"beforerequestafter"


def test_a_target_may_listen_on_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listener = socket.create_server(str(path), family=socket.AF_UNIX)
    with listener, Proxy() as proxy, connected(proxy.link(path)) as client:
        client.sendall(b"hello")
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.recv(10) == b"hello"


def test_refused_connections_are_accepted_on_the_same_port_again(link: Link) -> None:
    with connected(link) as present:
        asked(present, b"x")
        link.refuse()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", link.port), timeout=5)
        assert asked(present, b"still here") == b"still here"
    link.heal()
    with connected(link) as client:
        assert asked(client, b"y") == b"y"


def ask_twice(client: socket.socket) -> None:
    """Ask until the reset has arrived: the first question may still be on its way."""
    asked(client, b"x")
    asked(client, b"x")


def test_a_target_that_is_not_there_resets(link: Link, server: EchoServer) -> None:
    server.close()
    with pytest.raises((ConnectionResetError, BrokenPipeError)), connected(link) as client:
        ask_twice(client)
