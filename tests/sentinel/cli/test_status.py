from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sentinel import runtime
from sentinel.cli.main import main
from sentinel.cli.status import format_seconds
from sentinel.runtime import ProcessRecord, Runtime, State


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SENTINEL_DATA_DIR", str(tmp_path))
    return tmp_path


def write_record(directory: Path, *, state: State) -> None:
    started_at = runtime.start_time(os.getpid())
    web = ProcessRecord(
        name="web", state=state, pid=os.getpid(), started_at=started_at, port=8080, url="http://127.0.0.1:8080"
    )
    runtime.write(
        directory,
        Runtime(
            pid=os.getpid(),
            started_at=started_at,
            url="http://127.0.0.1:8080",
            environment={"REDIS_URL": "redis://:password@127.0.0.1:1/0"},
            started=True,
            processes=(ProcessRecord(name="postgres", state=State.EXTERNAL, url="postgresql://db/sentinel"), web),
        ),
    )


def test_nothing_running_is_said_and_exits_with_1(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 1
    assert capsys.readouterr().out == f"nothing runs in {directory}; start it with `sentinel up`\n"
    assert main(["status", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["running"] is False


def test_json_shows_every_process_and_no_password(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_record(directory, state=State.READY)
    assert main(["status", "--json"]) == 0
    printed = capsys.readouterr().out
    document = json.loads(printed)
    assert (document["running"], document["ready"], document["url"]) == (True, True, "http://127.0.0.1:8080")
    external, web = document["processes"]
    assert (external["name"], external["state"], external["pid"]) == ("postgres", "external", None)
    assert (web["name"], web["state"], web["pid"], web["port"], web["restarts"]) == (
        "web",
        "ready",
        os.getpid(),
        8080,
        0,
    )
    assert web["uptime_seconds"] >= 0
    assert "password" not in printed


def test_the_table_shows_name_state_pid_port_and_address(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_record(directory, state=State.CRASHED)
    assert main(["status"]) == 1
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("web"))
    assert line.split()[:5] == ["web", "crashed", str(os.getpid()), "8080", "0"]
    assert line.split()[-1] == "http://127.0.0.1:8080"


def test_stopping_what_does_not_run_is_no_error(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["down"]) == 0
    assert capsys.readouterr().out == f"nothing runs in {directory}\n"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0s"), (59, "59s"), (61, "1m 1s"), (3_725, "1h 2m"), (90_061, "1d 1h")]
)
def test_a_duration_is_shown_as_people_write_it(seconds: float, shown: str) -> None:
    assert format_seconds(seconds) == shown
