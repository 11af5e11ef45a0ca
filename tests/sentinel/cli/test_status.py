from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from sentinel import runtime
from sentinel.cli.main import main
from sentinel.cli.status import format_seconds
from sentinel.runtime import ProcessRecord, Runtime, State


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SENTINEL_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return tmp_path


@pytest.fixture
def database(directory: Path, transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the test database in the environment, as an installation without a supervisor does."""
    from django.db import connection

    from ingestion.partitions import ensure_partitions

    chosen = connection.settings_dict
    query = urlencode({"host": chosen["HOST"], "port": chosen["PORT"]})
    user = f"{chosen['USER']}:{chosen['PASSWORD']}"
    monkeypatch.setenv("DATABASE_URL", f"postgresql://{user}@/{chosen['NAME']}?{query}")
    ensure_partitions()


def add_cursor(partition: int, **values: Any) -> None:
    from ingestion.models import PartitionCursor, Project

    row = {"cluster_id": "c", "topic_id": "t", "topic": "llm.telemetry", "log_end_at": datetime.now(UTC)}
    PartitionCursor.objects.create(project=Project.objects.get(slug="default"), partition=partition, **(row | values))


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


@pytest.mark.usefixtures("database")
def test_partitions_that_are_fine_take_one_line_and_need_no_supervisor(capsys: pytest.CaptureFixture[str]) -> None:
    add_cursor(0, next_offset=5, log_end=5)
    add_cursor(1, next_offset=5, log_end=17)
    assert main(["status"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 partitions, all up to date, lag 12"


@pytest.mark.usefixtures("database")
def test_a_halted_partition_is_shown_with_its_reason_and_the_exit_code_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    add_cursor(0)
    add_cursor(
        1,
        next_offset=5,
        log_end=1_239,
        halted_because="log_replaced",
        halted_reason="the record at offset 4 is another",
    )
    assert main(["status"]) == 1
    out = capsys.readouterr().out
    assert "llm.telemetry[0]" not in out
    line = next(line for line in out.splitlines() if "llm.telemetry[1]" in line)
    for shown in ("halted", "1,234", "the record at offset 4 is another", "docs/runbooks/log-replaced.md"):
        assert shown in line
    assert out.splitlines()[-1] == "2 partitions, 1 halted, lag 1,234"


@pytest.mark.usefixtures("database")
def test_a_partition_behind_an_open_transaction_is_shown_although_nothing_can_be_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    since = datetime.now(UTC) - timedelta(seconds=95)
    add_cursor(0, next_offset=5, log_end=5, held_up_since=since, held_up_offset=5, held_up_end=17)
    assert main(["status"]) == 1
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if "llm.telemetry[0]" in line)
    for shown in ("stuck", "12", f"{since:%H:%M:%S}", "docs/runbooks/transaction-open.md"):
        assert shown in line
    assert out.splitlines()[-1] == "1 partition, 1 stuck, lag 12"


@pytest.mark.usefixtures("database")
def test_json_lists_every_open_partition(capsys: pytest.CaptureFixture[str]) -> None:
    add_cursor(0, halted_because="bad_deploy", halted_reason="x")
    add_cursor(1, closed_at=datetime.now(UTC))
    assert main(["status", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    (partition,) = document["partitions"]
    assert (partition["partition"], partition["state"], partition["halted_because"]) == (
        "llm.telemetry[0]",
        "halted",
        "bad_deploy",
    )
    assert document["partitions_error"] is None


@pytest.fixture
def missing_day(database: None) -> Iterator[str]:
    """Give the day that the table of events lacks: tomorrow."""
    from django.db import connection

    from ingestion.partitions import ensure_partitions, partition_name

    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    with connection.cursor() as sql:
        sql.execute(f"DROP TABLE {partition_name('events', tomorrow)}")
    yield str(tomorrow)
    ensure_partitions()


def test_a_day_that_a_table_lacks_is_said_and_the_exit_code_says_so(
    missing_day: str, capsys: pytest.CaptureFixture[str]
) -> None:
    add_cursor(0)
    assert main(["status"]) == 1
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == (
        f"no partition for 1 day, whose events are set aside as late: events {missing_day}; docs/runbooks/day-missing.md"
    )
    assert main(["status", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["missing_days"] == [{"table": "events", "day": missing_day}]


@pytest.mark.usefixtures("database")
def test_series_in_several_partitions_are_a_note_and_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    from ingestion.models import Project, Topic

    Topic.objects.create(
        name="acme.telemetry", project=Project.objects.get(slug="default"), scattered_series=3, scattered_example_id=9,
        scattered_at=datetime.now(UTC),
    )  # fmt: skip
    assert main(["status"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "note: 3 series of acme.telemetry arrive through several partitions, each of which learns them alone, such as "
        "series 9; docs/runbooks/series-scattered.md"
    )
    assert main(["status", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["scattered_series"]
    assert found == [{"topic": "acme.telemetry", "series": 3, "example_id": 9}]


def test_without_a_database_to_ask_partitions_are_not_spoken_of(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_record(directory, state=State.READY)
    assert main(["status", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["partitions"], document["partitions_error"]) == (None, None)


@pytest.fixture
def silent_server() -> Iterator[int]:
    """Give the port of a server that accepts and says nothing, as a frozen PostgreSQL does."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.mark.parametrize("away", ["refused", "silent"])
def test_a_database_that_is_away_is_said_in_one_line_within_two_seconds(
    away: str, directory: Path, silent_server: int
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = silent_server if away == "silent" else free.getsockname()[1]
    environment = {
        **os.environ, "SENTINEL_DATA_DIR": str(directory), "DATABASE_URL": f"postgresql://ada:s3cret@127.0.0.1:{port}/x"
    }  # fmt: skip
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "sentinel.cli.main", "status"], env=environment, capture_output=True, text=True
    )
    # The interpreter itself starts slowly on a busy machine.
    assert time.monotonic() - started < 3
    assert done.returncode == 1
    said = done.stdout.splitlines()[-1]
    assert said.startswith("partitions: unknown, PostgreSQL does not tell: ")
    assert "s3cret" not in done.stdout + done.stderr


def test_a_database_url_that_is_none_is_not_repeated(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "s3cret s3cret")
    assert main(["status"]) == 1
    assert "DATABASE_URL is no postgresql:// URL" in (out := capsys.readouterr().out)
    assert "s3cret" not in out


def test_status_starts_without_django(directory: Path) -> None:
    program = "import sys; from sentinel.cli.main import main; main(['status']); sys.exit('django' in sys.modules)"
    environment = {**os.environ, "SENTINEL_DATA_DIR": str(directory), "DATABASE_URL": "postgresql://127.0.0.1:1/x"}
    assert subprocess.run([sys.executable, "-c", program], env=environment, stdout=subprocess.DEVNULL).returncode == 0
