"""Running as another user what refuses root: PostgreSQL, when Sentinel itself is run by root."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path

SYSTEM_USER = "sentinel"


def unprivileged_user(*, owner_of: Path) -> tuple[int, int] | None:
    """Return the (uid, gid) to give to what refuses root; None if we are not root ourselves.

    The owner of `owner_of`, where that exists; else a system user of our own, made at first use; `nobody` where users
    cannot be made.
    """
    if os.geteuid() != 0:
        return None
    if owner_of.exists() and (owner := owner_of.stat()).st_uid != 0:
        return owner.st_uid, owner.st_gid
    entry = _existing(SYSTEM_USER) or _create(SYSTEM_USER) or pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def _existing(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _create(name: str) -> pwd.struct_passwd | None:
    if useradd := shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin"):
        subprocess.run(
            [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name],
            check=False,
            capture_output=True,
        )
    return _existing(name)


def own(path: Path, user: tuple[int, int] | None) -> None:
    """Give `path` and what lies below to `user`; nothing for None."""
    if user is None:
        return
    os.chown(path, *user)
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            os.chown(Path(folder) / name, *user, follow_symlinks=False)


def open_way(path: Path, user: tuple[int, int] | None) -> list[Path]:
    """Let `user` pass (not list) the folders above `path` and return those that were closed before.

    Only root calls this with a user. Without it neither a data directory in /root nor a virtual environment there
    could be used.
    """
    opened: list[Path] = []
    if user is None:
        return opened
    for folder in path.resolve().parents:
        mode = folder.stat()
        if not mode.st_mode & stat.S_IXOTH and mode.st_uid != user[0]:
            folder.chmod(stat.S_IMODE(mode.st_mode) | stat.S_IXOTH)
            opened.append(folder)
    return opened
