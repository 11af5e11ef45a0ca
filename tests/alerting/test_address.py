from __future__ import annotations

import ipaddress

import pytest

from alerting.address import is_allowed, parse_networks


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1",
        "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.7",
        "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8", "64:ff9b::7f00:1",
        "64:ff9b::808:808", "64:ff9b:1::1", "100::1", "2001::1", "2001:10::1", "2001:db8::1", "2002:7f00:1::",
        "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1", "fd12:3456::1", "fe80::1", "fec0::1", "ff02::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public_unicast_are_refused(text: str) -> None:
    assert not is_allowed(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111"])
def test_public_addresses_are_allowed(text: str) -> None:
    assert is_allowed(ipaddress.ip_address(text))


def test_a_network_that_the_operator_names_is_allowed_and_nothing_beside_it() -> None:
    networks = parse_networks(["127.0.0.0/8", "10.2.0.5"])

    assert is_allowed(ipaddress.ip_address("127.0.0.1"), allowed_networks=networks)
    assert is_allowed(ipaddress.ip_address("10.2.0.5"), allowed_networks=networks)
    assert not is_allowed(ipaddress.ip_address("10.2.0.6"), allowed_networks=networks)
    assert not is_allowed(ipaddress.ip_address("::ffff:127.0.0.1"), allowed_networks=networks)


def test_what_is_no_network_is_named() -> None:
    with pytest.raises(ValueError, match="intranet"):
        parse_networks(["intranet"])
