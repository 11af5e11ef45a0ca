"""The installation on this machine: its data directory, its secret key, and the environment of what runs in it.

`sentinel up` keeps everything in one directory. A command in another terminal finds the running installation through
it, without any variable set. Nothing here imports Django: settings are built from it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from sentinel import runtime

DATA_DIRECTORY_VARIABLE = "SENTINEL_DATA_DIR"
SECRET_KEY_FILE = "secret_key"  # noqa: S105  # a file's name
ADMIN_PASSWORD_FILE = "admin_password"  # noqa: S105
LOCK_FILE = "lock"


class InstallationError(Exception):
    """The installation cannot be used as it is; `hint` says what to do about it."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(f"{message} ({hint})")
        self.message = message
        self.hint = hint


def data_directory() -> Path:
    """Return where the installation keeps its data: SENTINEL_DATA_DIR, else the user's own data directory."""
    if chosen := os.environ.get(DATA_DIRECTORY_VARIABLE):
        return Path(chosen).expanduser().absolute()
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "sentinel"


def create_data_directory() -> Path:
    """Create the data directory, closed to other users, and return it; raise `InstallationError` if that fails."""
    directory = data_directory()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / "logs").mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise InstallationError(
            f"cannot use the data directory {directory}: {error.strerror}",
            hint=f"name another one with --data-dir or {DATA_DIRECTORY_VARIABLE}",
        ) from error
    return directory


def running() -> runtime.Runtime | None:
    """Return what runs in the data directory, or None; a record whose supervisor is gone counts as nothing."""
    record = runtime.read(data_directory())
    return record if record is not None and record.is_alive else None


def load_environment() -> Mapping[str, str]:
    """Return the variables that lead to the running installation (DATABASE_URL, REDIS_URL, ...), empty if none runs."""
    record = running()
    return {} if record is None else record.environment


def secret_key() -> str:
    """Return the installation's secret key, made at first use; raise `InstallationError` if it cannot be kept."""

    path = data_directory() / SECRET_KEY_FILE
    if not path.exists():
        create_data_directory()
    return kept_secret(path)


def kept_secret(path: Path) -> str:
    """Return the random secret kept in the file `path` (mode 0600), made at first use."""
    if not path.exists():
        _write_new(path, secrets.token_urlsafe(32))
    return _read_secret(path)


def _read_secret(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except PermissionError as error:
        raise InstallationError(
            f"cannot read {path}", hint="run as its owner, or name another data directory"
        ) from error


def _write_new(path: Path, content: str) -> None:
    # A hard link appears complete or not at all, and never replaces what another process made at the same moment.
    # Its name is nobody else's: threads share a process id, and so may containers that share the directory.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        temporary.touch(mode=0o600)
        temporary.write_text(content, encoding="ascii")
        with suppress(FileExistsError):
            os.link(temporary, path)
    except OSError as error:
        raise InstallationError(f"cannot write {path}: {error.strerror}", hint="set SENTINEL_SECRET_KEY") from error
    finally:
        temporary.unlink(missing_ok=True)


class Lock:
    """The right to run the installation: held by one supervisor, freed by the kernel however it ends."""

    def __init__(self, directory: Path) -> None:
        self._descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)

    def acquire(self) -> bool:
        """Take the lock without waiting; return False if another supervisor holds it."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Give the lock back; the file stays, so that nobody ever locks a deleted one."""
        os.close(self._descriptor)
