"""The servers of the fault suite, started with its first row and stopped with the session."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.arena import Arenas
from tests.faults.servers import Servers


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
