from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sentinel.services.sockets import create_socket_directory, socket_directory


def test_sockets_live_in_the_data_directory_where_the_path_is_short_enough(tmp_path: Path) -> None:
    assert socket_directory(Path("/data"), "postgres") == Path("/data/run/postgres")


def test_a_long_data_directory_gets_the_same_short_path_every_time() -> None:
    directory = Path("/data") / ("long-name" * 12)
    found = socket_directory(directory, "postgres")
    assert len(os.fsencode(found / ".s.PGSQL.5432")) <= 103
    assert found == socket_directory(directory, "postgres")
    assert found != socket_directory(directory.with_name("other"), "postgres")


def test_only_the_owner_can_enter(tmp_path: Path) -> None:
    path = socket_directory(tmp_path, "ready")
    create_socket_directory(path)
    create_socket_directory(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a directory of another user")
def test_a_directory_that_another_user_made_first_is_refused(tmp_path: Path) -> None:
    path = socket_directory(tmp_path, "ready")
    path.parent.mkdir()
    os.chown(path.parent, 12345, 12345)
    with pytest.raises(PermissionError, match="another user"):
        create_socket_directory(path)
