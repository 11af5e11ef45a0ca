"""Starting, stopping, killing and freezing what an arena runs, by name."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from ingestion import failpoint
from sentinel import ports
from tests.faults.crew import Crew, Role
from tests.faults.servers import REPOSITORY, Servers
from tests.faults.witness import Witness

# A child that does not move for so long is in the middle of a batch, not between two.
STILL_SECONDS = 0.1


class Handles:
    """Names are "bridge", "worker" and what else was started, and "postgres", "redis" and "kafka"."""

    def __init__(
        self,
        servers: Servers,
        *,
        directory: Path,
        environment: Mapping[str, str],
        witness: Witness,
        rng: random.Random,
    ) -> None:
        self.servers = servers
        self.directory = directory
        self.environment = environment
        self.witness = witness
        self.random = rng
        self.crew = Crew(log_directory=directory / "logs")
        self._restarts: dict[str, int] = {}

    # --- starting ----------------------------------------------------------------------------------------------------

    def start(self, name: str, command: str = "", **options: Any) -> None:
        """Start `sentinel <command>` under a name of its own and wait until it is ready; `options` as of `launch`."""
        self.launch(name, command, **options)
        self.crew.wait_until_ready(name)

    def launch(
        self,
        name: str,
        command: str = "",
        *,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        """Start `sentinel <command>`, by default called like the process, without waiting."""
        self.crew.start(
            Role(
                name,
                arguments=[command or name, *arguments],
                environment={**self.environment, **(environment or {})},
                directory=self.directory,
                prefix=prefix,
            )
        )

    def start_web(self, name: str = "web", **options: Any) -> str:
        """Start a web process on a port of its own, and return its URL; `options` as of `launch`."""
        port = ports.any_free_port()
        self.start(name, "web", arguments=["--port", str(port)], **options)
        return f"http://{ports.LOOPBACK}:{port}"

    def restart(self, name: str, command: str = "", **options: Any) -> None:
        """Stop a process politely and start it otherwise; `options` as of `launch`."""
        self.crew.stop(name)
        self.start(name, command, **options)

    def start_server(self, name: str) -> None:
        """Start a server that was killed and wait until it answers."""
        self.servers.by_name[name].start()

    def wait_until_back(self, name: str) -> None:
        """Return once the successor of a process that was killed or has ended is ready."""
        self.crew.wait_until_ready(name, restarts=self._restarts.get(name, 0) + 1)
        self._restarts[name] = self.crew.record(name).restarts

    def json(self, *arguments: str, exit_code: int = 0) -> dict[str, Any]:
        """Run a command of `sentinel` to its end, which must have this code, and return what it says with --json."""
        command = [sys.executable, "-m", "sentinel.cli.main", *arguments, "--json"]
        variables = {**os.environ, **self.environment}
        done = subprocess.run(command, cwd=REPOSITORY, env=variables, capture_output=True, text=True, timeout=120)
        assert done.returncode == exit_code, f"{done.stderr}\n{done.stdout}"
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    # --- signals -----------------------------------------------------------------------------------------------------

    def kill(self, name: str) -> None:
        """SIGKILL: a server, or a process with all it has started. The latter is started again by itself."""
        if name in self.servers.by_name:
            self.servers.by_name[name].kill()
        else:
            self.crew.send_signal(name, signal.SIGKILL, group=True)

    def suspend(self, name: str) -> None:
        """SIGSTOP: a server, or a process with all it has started."""
        if name in self.servers.by_name:
            self.servers.by_name[name].suspend()
        else:
            self.crew.send_signal(name, signal.SIGSTOP, group=True)

    def resume(self, name: str) -> None:
        """SIGCONT after `suspend`."""
        if name in self.servers.by_name:
            self.servers.by_name[name].resume()
        else:
            self.crew.send_signal(name, signal.SIGCONT, group=True)

    def terminate(self, name: str, *, group: bool = False) -> None:
        """SIGTERM: a process or, as some init systems do, its whole group. It is started again by itself."""
        self.crew.send_signal(name, signal.SIGTERM, group=group)

    def busy_child(self, name: str = "worker") -> tuple[psutil.Process, str]:
        """Suspend a child of a worker in the middle of a batch; return it, stopped, and the phase it is in."""
        for _ in range(300):
            with suppress(psutil.NoSuchProcess, IndexError):  # Not every child lives for long.
                child = self.random.choice(self.crew.children(name))
                child.suspend()
                before = self.witness.at_work().get(child.pid)
                time.sleep(STILL_SECONDS)
                is_stopped = child.status() == psutil.STATUS_STOPPED  # and not dead
                if is_stopped and before is not None and self.witness.at_work().get(child.pid) == before:
                    return child, before[-1]
                child.resume()
            time.sleep(0.02 + 0.05 * self.random.random())
        raise AssertionError("no child was met in the middle of a batch")

    def lines(self, name: str, word: str) -> list[str]:
        """Return the lines with this word that a process has logged."""
        text = (self.directory / "logs" / f"{name}.log").read_text(errors="replace")
        return [line for line in text.splitlines() if word in line]

    # --- failpoints --------------------------------------------------------------------------------------------------

    def failpoints(self, text: str) -> dict[str, str]:
        """Return the environment that arms failpoints, and empty their traces; `hits` reads those."""
        directory = self.directory / "failpoints"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        return {failpoint.VARIABLE: text, failpoint.DIRECTORY_VARIABLE: str(directory)}

    def hits(self) -> list[tuple[float, int, str]]:
        """Return when, in which process and at which failpoint something was done."""
        path = self.directory / "failpoints" / "hits.log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(float(at), int(pid), name) for at, pid, name, _ in map(str.split, lines)]
