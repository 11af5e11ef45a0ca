from __future__ import annotations

import socket

import pytest

from sentinel import ports
from sentinel.installation import InstallationError
from sentinel.listener import open_listener


def test_a_port_that_was_asked_for_is_taken_and_given_back() -> None:
    port = ports.any_free_port()
    listener = open_listener(ports.LOOPBACK, port)
    assert listener.url == f"http://127.0.0.1:{port}"
    assert listener.is_loopback
    assert ports.answers(port)
    listener.close()
    assert not ports.answers(port)


def test_a_used_port_is_an_error_that_names_its_user() -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(InstallationError, match=rf"port {port} is used by .*--port"):
            open_listener(ports.LOOPBACK, port)


def test_without_a_wish_the_next_port_that_is_free_is_taken() -> None:
    first = open_listener(ports.LOOPBACK, None)
    second = open_listener(ports.LOOPBACK, None)
    assert 8080 <= first.port < second.port
    first.close()
    second.close()


def test_a_host_that_is_not_ours_is_an_error() -> None:
    with pytest.raises(InstallationError, match=r"cannot listen on 192\.0\.2\.1.*--host"):
        open_listener("192.0.2.1", ports.any_free_port())


def test_all_addresses_are_reached_by_loopback_and_are_not_private() -> None:
    listener = open_listener("0.0.0.0", ports.any_free_port())
    assert listener.url.startswith("http://127.0.0.1:")
    assert not listener.is_loopback
    listener.close()
