"""`sentinel up`: run the services and Sentinel's processes on this machine, and look after them.

1. Take the installation's lock; end what a killed supervisor left behind.
2. Prepare and start PostgreSQL, Redis and Kafka, all at once; each is left out where a variable names another one.
3. `manage.py prepare`, while Kafka still starts: migrations, partitions, topics, the first administrator.
4. Start the processes (`sentinel.processes`), wait until each is ready, print the URL.
5. Until a signal comes: restart what ends, keep logs short, keep `runtime.json` true.
6. Stop the processes, then the services, in reverse order.

All children are started by one thread: Linux ends a child with the thread that started it.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from sentinel import leftovers, ports, runtime
from sentinel.child import Child, Command
from sentinel.fleet import Fleet
from sentinel.installation import ADMIN_PASSWORD_FILE, DATA_DIRECTORY_VARIABLE, InstallationError, Lock
from sentinel.listener import DEFAULT_PORT, Listener, open_listener
from sentinel.processes import PROCESSES, SentinelProcess
from sentinel.runtime import ProcessRecord, Runtime, State
from sentinel.services.base import Service, ServiceUnavailable
from sentinel.services.embedded import Plan, plan_services
from sentinel.wakeup import Wakeup

READY_TIMEOUT_SECONDS = 60.0
PREPARE_TIMEOUT_SECONDS = 600.0
# While something starts, its readiness is asked for this often; after that the kernel wakes us.
STARTING_POLL_SECONDS = 0.05
WATCHING_POLL_SECONDS = 2.0
# Of the caller's environment, what other commands need to see the same installation.
INHERITED_VARIABLES = ("DATABASE_URL", "REDIS_URL")
NOT_INHERITED_VARIABLES = (DATA_DIRECTORY_VARIABLE, "SENTINEL_ROLE")


def print_line(name: str, text: str) -> None:
    """Report to the terminal, or to whatever standard output is."""
    print(f"{name:<10}{text}", flush=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the caller of `sentinel up` chose; `web_port` None means the usual one or the next that is free."""

    directory: Path
    with_kafka: bool = True
    web_host: str = ports.LOOPBACK
    web_port: int | None = None
    report: Callable[[str, str], None] = field(default=print_line)


class AlreadyRunning(Exception):
    """Another supervisor holds the installation; `record` says which, None if it has only just begun."""

    def __init__(self, record: Runtime | None) -> None:
        super().__init__("already running")
        self.record = record


class StopRequested(Exception):
    """A signal asked the supervisor to end."""


class Supervisor:
    """Runs one installation; `run` returns when it has stopped again."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._directory = options.directory
        self._logs = options.directory / "logs"
        self._report = options.report
        self._environment: Mapping[str, str] = {}
        self._external: tuple[ProcessRecord, ...] = ()
        self._services = Fleet(report=options.report)
        self._processes = Fleet(report=options.report)
        self._started = False
        self._written: Runtime | None = None
        self._started_at = runtime.start_time(os.getpid())

    def run(self) -> None:
        """Start everything, look after it until a signal comes, stop everything.

        Raise `AlreadyRunning`, or `InstallationError` and `ServiceUnavailable` (with everything stopped again).
        """
        lock = Lock(self._directory)
        if not lock.acquire():
            raise AlreadyRunning(runtime.read(self._directory))
        try:
            self._run_locked()
        finally:
            lock.release()

    def _run_locked(self) -> None:
        if left := leftovers.clear(self._directory):
            self._report("sentinel", f"ended what an earlier run left behind: {', '.join(left)}")
        with closing(self._open_listener()) as self._web, Wakeup() as self._wakeup:
            try:
                self._start()
                self._watch()
            except StopRequested:
                pass
            finally:
                self._stop()

    def _start(self) -> None:
        begun = time.monotonic()
        plan = plan_services(self._directory, with_kafka=self._options.with_kafka)
        self._start_services(plan)
        self._prepare_database()
        self._await_services()
        self._start_processes()
        self._started = True
        self._write_record()
        how = "started without them" if self._processes.unready else "ready"
        self._report("sentinel", f"{how} in {time.monotonic() - begun:.1f} s: {self._web.url}")

    # --- Services ----------------------------------------------------------------------------------------------------

    def _start_services(self, plan: Plan) -> None:
        self._external = tuple(
            ProcessRecord(name=name, state=State.EXTERNAL, url=address) for name, address in plan.external
        )
        for process in self._external:
            self._report(process.name, f"external  {process.url}")
        self._environment = _environment(plan.embedded, web=self._web)
        prepared = self._prepare_all(plan.embedded)
        self._environment = _environment(prepared, web=self._web)
        # Kafka takes longest, and only the last step of the preparation needs it.
        self._await_services(except_for="kafka")

    def _prepare_all(self, services: Sequence[Service]) -> list[Service]:
        """Prepare all services at once (Kafka may have to be fetched) and start each as soon as it is prepared."""
        launched = []
        with ThreadPoolExecutor(max_workers=max(1, len(services))) as pool:
            waiting = {pool.submit(service.prepare): service for service in services}
            while waiting:
                for future in [future for future in waiting if future.done()]:
                    service = waiting.pop(future)
                    if self._may_launch(service, future.exception()):
                        self._services.launch(service, log_directory=self._logs)
                        launched.append(service)
                self._look_after(STARTING_POLL_SECONDS)
        return launched

    def _may_launch(self, service: Service, error: BaseException | None) -> bool:
        if isinstance(error, ServiceUnavailable) and service.name == "kafka":
            # Sentinel works without: the log is then a table, filled over HTTP.
            self._report("kafka", f"left out, HTTP ingestion only: {error}")
            return False
        if error is not None:
            raise error
        return True

    def _await_services(self, *, except_for: str = "") -> None:
        while set(self._services.unready) - {except_for}:
            self._look_after_start()

    def _look_after_start(self) -> None:
        """Look after everything; raise `ServiceUnavailable` for a service that crashes, before it hides in restarts."""
        for name, reason in self._look_after(STARTING_POLL_SECONDS):
            raise ServiceUnavailable(f"{name} does not start: {reason}", hint=f"see {self._logs / f'{name}.log'}")

    def _open_listener(self) -> Listener:
        listener = open_listener(self._options.web_host, self._options.web_port)
        if self._options.web_port is None and listener.port != DEFAULT_PORT:
            used_by = ports.user_of(DEFAULT_PORT)
            self._report("web", f"port {DEFAULT_PORT} is used by {used_by}; taking {listener.port}")
        return listener

    # --- Sentinel's own processes ------------------------------------------------------------------------------------

    def _prepare_database(self) -> None:
        begun = time.monotonic()
        child = Child(self._prepare_command(), log_path=self._logs / "prepare.log")
        try:
            while child.exit_code() is None and time.monotonic() - begun < PREPARE_TIMEOUT_SECONDS:
                self._look_after_start()
        finally:
            child.kill()
        if child.exit_code() != 0:
            raise InstallationError(
                f"the database could not be prepared: {' / '.join(child.last_log_lines(1))}",
                hint=f"see {self._logs / 'prepare.log'}",
            )
        self._report("database", f"ready in {time.monotonic() - begun:.1f} s")

    def _prepare_command(self) -> Command:
        arguments = ["prepare"]
        if "DATABASE_URL" not in os.environ:
            arguments += ["--admin-password-file", str(self._directory / ADMIN_PASSWORD_FILE)]
        return Command(
            argv=(sys.executable, "-m", "django", *arguments),
            environment={**self._environment, "DJANGO_SETTINGS_MODULE": "sentinel.settings"},
        )

    def _start_processes(self) -> None:
        metrics = self._directory / "metrics"
        shutil.rmtree(metrics, ignore_errors=True)  # counters of processes that ended with the last run
        metrics.mkdir(mode=0o700)
        environment = {**self._environment, "PROMETHEUS_MULTIPROC_DIR": str(metrics)}
        self._environment = environment
        for process in PROCESSES:
            runnable = SentinelProcess(process, directory=self._directory, environment=environment, listener=self._web)
            runnable.prepare()
            self._processes.launch(runnable, log_directory=self._logs)
        self._await_processes()

    # --- Watching and stopping ---------------------------------------------------------------------------------------

    def _await_processes(self) -> None:
        """Wait for every process; one that crashes is started again, and its absence does not stop the others."""
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        while self._processes.unready and time.monotonic() < deadline:
            self._look_after(STARTING_POLL_SECONDS)
        if unready := self._processes.unready:
            self._report("sentinel", f"not ready: {', '.join(unready)}; see the logs in {self._logs}")

    def _watch(self) -> None:
        while True:
            busy = self._services.unready or self._processes.unready
            self._look_after(STARTING_POLL_SECONDS if busy else WATCHING_POLL_SECONDS)

    def _look_after(self, timeout_seconds: float) -> list[tuple[str, str]]:
        """Wait for something to happen and deal with it; return name and reason of each crash.

        Raise `StopRequested` after a signal.
        """
        self._wakeup.wait(timeout_seconds)
        if self._wakeup.stop_requests:
            raise StopRequested
        crashes = [*self._services.poll(), *self._processes.poll()]
        self._write_record()
        return [(unit.name, crash.reason) for unit, crash in crashes]

    def _write_record(self) -> None:
        record = Runtime(
            pid=os.getpid(),
            started_at=self._started_at,
            url=self._web.url,
            environment=self._environment,
            started=self._started,
            processes=(*self._external, *self._services.records(), *self._processes.records()),
        )
        if record != self._written:
            runtime.write(self._directory, record)
            self._written = record

    def _stop(self) -> None:
        begun = time.monotonic()
        self._report("sentinel", "stopping")
        impatient = lambda: self._wakeup.stop_requests > 1  # noqa: E731  # a second Ctrl-C
        killed = self._processes.stop(at_once=impatient) + self._services.stop(at_once=impatient)
        runtime.remove(self._directory)
        if killed:
            self._report("sentinel", f"had to be killed: {', '.join(killed)}")
        self._report("sentinel", f"stopped in {time.monotonic() - begun:.1f} s")


def _environment(services: Iterable[Service], *, web: Listener) -> dict[str, str]:
    """Return the variables for our processes and for commands in other terminals."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name in INHERITED_VARIABLES or (name.startswith("SENTINEL_") and name not in NOT_INHERITED_VARIABLES)
    }
    embedded = {name: value for service in services for name, value in service.environment().items()}
    own = {"SENTINEL_WEB_URL": web.url}
    if web.is_loopback and "SENTINEL_LOOPBACK_PROJECT" not in inherited:
        # On a machine of one's own the first requests need no key.
        own["SENTINEL_LOOPBACK_PROJECT"] = "default"
    return {**inherited, **own, **embedded}
