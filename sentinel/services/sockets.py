"""Where the sockets of an installation live: a directory that others cannot enter, with a path short enough."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

# A Unix socket's address holds 108 bytes on Linux, 104 on macOS, the closing NUL included.
MAX_PATH_BYTES = 103
LONGEST_NAME = ".s.PGSQL.5432"


def socket_directory(directory: Path, name: str) -> Path:
    """Return the directory for the sockets of `name`: below `directory`, or below /tmp where that path is too long.

    It is the same for the same arguments, so that a restarted server is found where it was. It is not created.
    """
    chosen = directory / "run" / name
    if len(os.fsencode(chosen / LONGEST_NAME)) <= MAX_PATH_BYTES:
        return chosen
    digest = hashlib.sha256(os.fsencode(directory.absolute())).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"sentinel-{os.geteuid()}-{digest}" / name


def create_socket_directory(path: Path) -> None:
    """Create a directory that `socket_directory` named; raise `PermissionError` if another user was there first."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.parent.stat().st_uid != os.geteuid():
        raise PermissionError(f"{path.parent} belongs to another user")
    path.mkdir(mode=0o700, exist_ok=True)
