from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sentinel import installation, runtime
from sentinel.installation import InstallationError, Lock
from sentinel.runtime import ProcessRecord, Runtime, State

ENVIRONMENT = {"DATABASE_URL": "postgresql://sentinel@/sentinel?host=/somewhere", "REDIS_URL": "redis://:x@127.0.0.1:1"}


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SENTINEL_DATA_DIR", str(tmp_path / "data"))
    return installation.create_data_directory()


def record_of(pid: int, *, started_at: float, **values: object) -> Runtime:
    return Runtime(
        pid=pid,
        started_at=started_at,
        url="http://127.0.0.1:8080",
        environment=ENVIRONMENT,
        **values,  # type: ignore[arg-type]
    )


def own_record(**values: object) -> Runtime:
    return record_of(os.getpid(), started_at=runtime.start_time(os.getpid()), **values)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_data_directory_is_the_users_own_unless_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SENTINEL_DATA_DIR")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert installation.data_directory() == tmp_path / "sentinel"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert installation.data_directory() == tmp_path / ".local/share/sentinel"
    monkeypatch.setenv("SENTINEL_DATA_DIR", "~/elsewhere")
    assert installation.data_directory() == tmp_path / "elsewhere"


def test_the_data_directory_is_closed_to_other_users(directory: Path) -> None:
    assert mode_of(directory) == 0o700
    assert mode_of(directory / "logs") == 0o700


def test_a_data_directory_that_cannot_be_made_is_an_error_with_a_hint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SENTINEL_DATA_DIR", str(tmp_path / "file" / "data"))
    with pytest.raises(InstallationError, match="--data-dir"):
        installation.create_data_directory()


def test_the_secret_key_is_made_once_and_for_the_owner_alone(directory: Path) -> None:
    key = installation.secret_key()
    assert len(key) >= 40
    assert installation.secret_key() == key
    assert mode_of(directory / "secret_key") == 0o600


def test_processes_that_start_at_the_same_moment_agree_on_the_secret_key(directory: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: installation.kept_secret(directory / "shared"), range(32)))
    assert len(keys) == 1


def test_nothing_runs_where_nothing_was_started(directory: Path) -> None:
    assert installation.running() is None
    assert installation.load_environment() == {}


def test_the_environment_of_what_runs_is_found(directory: Path) -> None:
    runtime.write(directory, own_record())
    assert installation.load_environment() == ENVIRONMENT


def test_the_record_is_for_the_owner_alone_because_it_holds_passwords(directory: Path) -> None:
    runtime.write(directory, own_record())
    assert mode_of(directory / "runtime.json") == 0o600
    assert "redis" not in repr(own_record())


def test_the_record_of_a_supervisor_that_was_killed_counts_as_nothing(directory: Path) -> None:
    runtime.write(directory, record_of(2**22 - 1, started_at=1.0))
    assert installation.load_environment() == {}


def test_another_process_that_got_the_pid_of_the_supervisor_is_not_taken_for_it(directory: Path) -> None:
    runtime.write(directory, record_of(os.getpid(), started_at=runtime.start_time(os.getpid()) - 3600))
    assert installation.running() is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 0}'])
def test_a_record_that_cannot_be_read_counts_as_nothing(directory: Path, content: str) -> None:
    (directory / "runtime.json").write_text(content)
    assert installation.running() is None


def test_a_record_comes_back_as_it_was_written(directory: Path) -> None:
    process = ProcessRecord(name="web", state=State.READY, pid=7, started_at=1.5, port=8080, url="http://x", restarts=2)
    record = own_record(started=True, processes=(process,))
    runtime.write(directory, record)
    assert runtime.read(directory) == record


def test_an_installation_is_ready_once_the_start_is_over_and_everything_works() -> None:
    ready = ProcessRecord(name="web", state=State.READY)
    crashed = ProcessRecord(name="worker", state=State.CRASHED)
    elsewhere = ProcessRecord(name="redis", state=State.EXTERNAL)
    assert own_record(started=True, processes=(ready, elsewhere)).is_ready
    assert not own_record(started=True, processes=(ready, crashed)).is_ready
    assert not own_record(started=False, processes=(ready,)).is_ready


def test_only_one_supervisor_holds_the_lock(directory: Path) -> None:
    first, second = Lock(directory), Lock(directory)
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    second.release()
