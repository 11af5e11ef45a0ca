from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from sentinel import ports


@pytest.fixture
def used_port() -> Iterator[int]:
    with socket.create_server((ports.LOOPBACK, 0)) as server:
        yield server.getsockname()[1]


def test_a_used_port_is_not_free_and_the_next_one_is_taken(used_port: int) -> None:
    assert not ports.is_free(used_port)
    assert ports.free_port(used_port) > used_port


def test_the_user_of_a_port_is_named(used_port: int) -> None:
    assert f"(pid {os.getpid()})" in ports.user_of(used_port)


def test_a_port_answers_only_while_something_listens(used_port: int) -> None:
    assert ports.answers(used_port)
    assert not ports.answers(ports.any_free_port())


def test_running_out_of_ports_is_an_error(used_port: int) -> None:
    with pytest.raises(OSError, match="no port from"):
        ports.free_port(used_port, attempts=1)
