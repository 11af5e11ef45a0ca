"""The servers of the fault suite, started with its first row and stopped with the session."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.faults import figures
from tests.faults.arena import Arenas
from tests.faults.servers import Servers


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the figures of a row count if its test has passed."""
    report = yield
    if call.when == "call":
        figures.write_pending(passed=report.passed)
    return report


@pytest.fixture(scope="session")
def fault_servers() -> Iterator[Servers]:
    """Give servers that nobody else uses; a row may kill them."""
    # Not pytest's own temporary directory: a socket's path must be short.
    directory = Path(tempfile.mkdtemp(prefix="sentinel-faults-"))
    servers = Servers(directory)
    yield servers
    servers.stop()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def arenas(fault_servers: Servers) -> Arenas:
    """Give what opens a row of the matrix."""
    return Arenas(fault_servers)
