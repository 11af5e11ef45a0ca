"""docker/compose.yaml describes the system of `sentinel up`, and every container is locked down."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sentinel.cli.main import COMMANDS
from sentinel.processes import PROCESSES
from sentinel.services.postgres import SETTINGS

DOCKER = Path(__file__).parents[2] / "docker"
TEXT = (DOCKER / "compose.yaml").read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
# ${NAME}, ${NAME:-default}, ${NAME:?message}; a default may hold another variable.
VARIABLE = re.compile(r"(?<!\$)\$\{(?P<name>[A-Z_]+)(?::(?P<kind>[-?])(?P<value>[^{}]*))?")


def example() -> dict[str, str]:
    """Return the variables of .env.example, those in comments too."""
    lines = (DOCKER / ".env.example").read_text(encoding="utf-8").splitlines()
    matches = (re.fullmatch(r"#?([A-Z_]+)=(.*)", line) for line in lines)
    return {match[1]: match[2] for match in matches if match}


def test_every_process_of_sentinel_up_has_a_container() -> None:
    commands = {tuple(service["command"][:2]) for service in SERVICES.values() if "command" in service}
    assert {("sentinel", process.name) for process in PROCESSES} <= commands


def test_every_command_of_a_container_exists() -> None:
    started = [service["command"][1] for service in SERVICES.values() if service.get("command", [""])[0] == "sentinel"]
    assert set(started) <= set(COMMANDS)


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_locked_down(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "mem_limit" in service


@pytest.mark.parametrize("name", SERVICES)
def test_every_published_port_is_bound_to_one_address(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.match(r"(127\.0\.0\.1|\$\{SENTINEL_WEB_ADDRESS:-127\.0\.0\.1\}):", port), port


def test_every_variable_is_in_the_example_with_its_default() -> None:
    known = example()
    for match in VARIABLE.finditer(TEXT):
        name, kind, value = match["name"], match["kind"], match["value"]
        assert name in known, f"{name} is missing from .env.example"
        # The addresses of the containers are defaults that nobody would write down.
        if kind == "-" and name not in {"DATABASE_URL", "REDIS_URL", "SENTINEL_BROKERS"} and known[name]:
            assert known[name] == value, f"{name} has another default in .env.example"


def test_the_example_has_no_variable_that_nothing_reads() -> None:
    read = {match["name"] for match in VARIABLE.finditer(TEXT)}
    assert set(example()) - read == {"COMPOSE_PROFILES"}


def test_postgres_has_the_settings_of_sentinel_up() -> None:
    given = dict(word.removeprefix("--").split("=", 1) for word in SERVICES["postgres"]["command"][1:])
    given = {name: re.sub(r"\$\{[A-Z_]+:-(.*)\}", r"\1", value) for name, value in given.items()}
    # How it is reached differs; the rest of the log's form is for people.
    own = {"listen_addresses", "unix_socket_permissions", "log_line_prefix", "checkpoint_completion_target"}
    assert given == {name: value for name, value in SETTINGS.items() if name not in own}
