"""`sentinel up` from end to end, with real services."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from sentinel import ports, runtime
from sentinel.child import wait_until
from sentinel.runtime import Runtime

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[3]
START_SECONDS = 180
PROCESSES = {"bridge", "worker", "beat", "alerts", "web"}


class Installation:
    """A data directory and the command line on it, as a user has them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.output_path = directory.with_name("up.txt")
        self.process: subprocess.Popen[bytes] | None = None
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("SENTINEL_") and name not in {"DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE"}
        } | {"SENTINEL_DATA_DIR": str(directory)}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(arguments),
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
            env=self._environment,
            timeout=START_SECONDS,
        )

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "sentinel.cli.main", *arguments]

    def up(self, *arguments: str, until: Callable[[], bool] | None = None) -> None:
        """Start `sentinel up` without a terminal and wait until it says that it is ready, or for `until`."""
        with self.output_path.open("wb") as output:
            self.process = subprocess.Popen(
                self._command(("up", *arguments)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=REPOSITORY,
                env=self._environment,
            )
        assert wait_until(until or self.has_started, timeout_seconds=START_SECONDS, poll_seconds=0.1), self.output

    def has_started(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.output
        return "\nsentinel  ready in" in f"\n{self.output}"

    @property
    def output(self) -> str:
        return self.output_path.read_text()

    @property
    def record(self) -> Runtime:
        record = runtime.read(self.directory)
        assert record is not None
        return record

    def pid_of(self, name: str) -> int:
        pid = {process.name: process.pid for process in self.record.processes}[name]
        assert pid is not None
        return pid

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return document

    def children(self) -> list[psutil.Process]:
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    def close(self) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.terminate()
            self.process.wait(timeout=START_SECONDS)


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "data")
    yield installation
    installation.close()


def test_an_installation_from_its_first_start_to_its_end(installation: Installation) -> None:
    installation.up()
    url = installation.record.url

    # One line per process with its seconds, and the URL at the end.
    for name in (*PROCESSES, "postgres", "redis", "kafka", "database"):
        assert re.search(rf"^{name} +ready in \d+\.\d s", installation.output, re.MULTILINE), installation.output
    assert installation.output.rstrip().endswith(url)
    with urllib.request.urlopen(f"{url}/health/ready", timeout=30) as answer:
        assert answer.status == 200

    status = installation.status()
    assert status["ready"]
    assert {process["name"] for process in status["processes"]} == {"postgres", "redis", "kafka", *PROCESSES}
    assert all(process["restarts"] == 0 for process in status["processes"])

    # Another terminal finds it without any variable.
    checked = installation.run("check", "--json")
    assert json.loads(checked.stdout)["problems"] == 0, checked.stdout
    assert checked.returncode == 0

    second = installation.run("up")
    assert second.returncode == 0
    assert f"already running: {url}" in second.stdout
    assert f"web (pid {installation.pid_of('web')})" in second.stdout

    assert_restarted(installation, "bridge")
    assert_restarted(installation, "redis")

    children = installation.children()
    down = installation.run("down")
    assert down.returncode == 0
    assert re.match(r"stopped in \d+\.\d s", down.stdout)
    assert installation.process is not None
    assert installation.process.wait(timeout=30) == 0
    assert "had to be killed" not in installation.output
    assert [child for child in children if child.is_running()] == []
    assert installation.run("status").returncode == 1


def assert_restarted(installation: Installation, name: str) -> None:
    killed = installation.pid_of(name)
    os.kill(killed, signal.SIGKILL)
    assert wait_until(
        lambda: (
            f"{name:<10}ready" in installation.output.split("killed by SIGKILL")[-1]
            and "restart 1" in installation.output
        ),
        timeout_seconds=60,
    )
    assert wait_until(lambda: installation.record.is_ready, timeout_seconds=60)
    assert f"{name:<10}ended (killed by SIGKILL); starting again in 0.1 s" in installation.output
    process = next(process for process in installation.status()["processes"] if process["name"] == name)
    assert (process["state"], process["restarts"]) == ("ready", 1)
    assert process["pid"] != killed


def test_nothing_survives_a_supervisor_that_is_killed_and_data_outlive_it(installation: Installation) -> None:
    installation.up("--no-kafka")
    assert "kafka" not in installation.output
    key = (installation.directory / "secret_key").read_bytes()
    children = installation.children()
    assert installation.process is not None
    installation.process.kill()
    installation.process.wait()
    assert wait_until(lambda: not any(map(is_running, children)), timeout_seconds=60), [
        child for child in children if child.is_running()
    ]
    assert installation.run("status").returncode == 1

    installation.up("--no-kafka")
    assert (installation.directory / "secret_key").read_bytes() == key
    assert installation.status()["ready"]
    # Ctrl-C, as the terminal sends it.
    installation.process.send_signal(signal.SIGINT)
    assert installation.process.wait(timeout=60) == 0


def is_running(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_a_used_port_is_named_and_the_next_one_is_taken(installation: Installation) -> None:
    with socket.socket() as server:
        # Closed connections of the tests before this one linger on the port for a minute: they do not count as its use.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((ports.LOOPBACK, 8080))
        except OSError:
            pass  # Somebody else uses it: as good.
        else:
            server.listen()
        installation.up("--no-kafka", until=lambda: "taking" in installation.output)
    line = next(line for line in installation.output.splitlines() if "port 8080 is used by" in line)
    assert re.search(r"taking \d+$", line)


def test_a_port_that_was_asked_for_and_is_used_is_an_error(installation: Installation) -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        result = installation.run("up", "--no-kafka", "--port", str(port))
    assert result.returncode == 1
    assert f"port {port} is used by" in result.stderr
    assert "--port" in result.stderr


def test_a_database_that_is_away_ends_the_start_with_one_line(installation: Installation) -> None:
    nowhere = f"postgresql://sentinel:password@127.0.0.1:{ports.any_free_port()}/sentinel"
    installation._environment["DATABASE_URL"] = nowhere
    result = installation.run("up", "--no-kafka")
    assert result.returncode == 1
    assert result.stderr.startswith("sentinel up: the database could not be prepared")
    assert result.stderr.count("\n") == 1
    assert "password" not in result.stderr + result.stdout
    assert installation.run("status").returncode == 1
