"""Which addresses a webhook may reach: public unicast ones and networks that the operator names.

A rule's author chooses the URL, our network position does the rest: without this check a webhook is a way into the
cloud's metadata service and every internal endpoint (server-side request forgery).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# IANA special-purpose registries. Most are "not global" to `ipaddress` too, but what it says of them differs between
# Python releases; the translation prefixes reach an IPv4 address that was never checked.
FORBIDDEN_NETWORKS: tuple[Network, ...] = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, cloud metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "::/96",  # unspecified, loopback, IPv4-compatible
        "::ffff:0:0/96",  # IPv4-mapped
        "::ffff:0:0:0/96",  # IPv4-translated
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # local NAT64
        "100::/64",  # discard
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
        "fc00::/7",  # unique local
        "fe80::/10",  # link-local
        "fec0::/10",  # site-local
        "ff00::/8",  # multicast
    )
)


def parse_networks(names: Iterable[str]) -> tuple[Network, ...]:
    """Return networks given as text (`10.0.0.0/8`, `127.0.0.1`); raise `ValueError` naming the one that is none."""
    return tuple(ipaddress.ip_network(name) for name in names)


def is_allowed(address: Address, *, allowed_networks: Sequence[Network] = ()) -> bool:
    """Return whether a webhook may connect to `address`."""
    if any(address in network for network in allowed_networks):
        return True
    if any(address in network for network in FORBIDDEN_NETWORKS):
        return False
    return address.is_global and not address.is_multicast
