"""Which services `sentinel up` brings along: those that no variable names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sentinel.services.base import Service
from sentinel.services.kafka import Kafka
from sentinel.services.postgres import Postgres
from sentinel.services.redis import Redis

SERVICES: tuple[type[Postgres | Redis | Kafka], ...] = (Postgres, Redis, Kafka)


@dataclass(frozen=True, slots=True)
class Plan:
    """The services to run here, and those that run elsewhere as name and address without password."""

    embedded: tuple[Service, ...]
    external: tuple[tuple[str, str], ...]


def plan_services(directory: Path, *, with_kafka: bool, environment: Mapping[str, str] = os.environ) -> Plan:
    """Decide for each service whether to run it below `directory`."""
    embedded: list[Service] = []
    external: list[tuple[str, str]] = []
    for kind in SERVICES:
        named = environment.get(kind.variable)
        if named:
            external.append((kind.name, public_address(named)))
        elif kind is not Kafka or with_kafka:
            embedded.append(kind(directory))
    return Plan(tuple(embedded), tuple(external))


def public_address(value: str) -> str:
    """Return a URL, or a list of brokers, without user, password and options."""
    if "://" not in value:
        return value
    url = urlsplit(value)
    host = f"{url.hostname or ''}:{url.port}" if url.port else url.hostname or "local socket"
    return f"{url.scheme}://{host}{url.path}"
