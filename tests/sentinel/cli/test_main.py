from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sentinel.cli.main import COMMANDS, main

REPOSITORY = Path(__file__).resolve().parents[3]


def run(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sentinel.cli.main", *arguments],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=environment,
        timeout=60,
    )


def test_help_names_every_command_and_loads_no_framework() -> None:
    script = (
        "import sys; from sentinel.cli.main import build_parser; print(build_parser(['--help']).format_help());"
        "heavy = {'django', 'celery', 'kafka', 'redis', 'numpy', 'rich', 'psycopg2', 'psutil'} & sys.modules.keys();"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPOSITORY)
    assert result.returncode == 0, result.stderr
    for name in COMMANDS:
        assert f"\n    {name}" in result.stdout


def test_help_answers_at_once() -> None:
    def seconds() -> float:
        begun = time.perf_counter()
        assert run("--help").returncode == 0
        return time.perf_counter() - begun

    assert min(seconds() for _ in range(3)) < 0.3


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_of_its_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([name, "--help"])
    assert exit_.value.code == 0
    shown = capsys.readouterr().out
    assert f"usage: sentinel {name}" in shown
    assert "--data-dir" in shown


@pytest.mark.parametrize("arguments", [[], ["no-such-command"], ["status", "--no-such-option"], ["up", "--port", "x"]])
def test_wrong_arguments_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "usage: sentinel" in capsys.readouterr().err


def test_a_problem_that_can_be_expected_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("up", "--data-dir", str(tmp_path / "file" / "data"))
    assert result.returncode == 1
    assert result.stderr.startswith("sentinel up: cannot use the data directory")
    assert result.stderr.count("\n") == 1
    assert "--data-dir" in result.stderr


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("up", "--debug", "--data-dir", str(tmp_path / "file" / "data"))
    assert result.returncode == 1
    assert "Traceback" in result.stderr


def test_a_setting_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    result = run("check", environment={**os.environ, "SENTINEL_BATCH_RECORDS": "many"})
    assert result.returncode == 1
    assert result.stderr == "sentinel check: SENTINEL_BATCH_RECORDS='many' is not a whole number\n"


def test_a_mistake_of_ours_shows_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        NAME = "status"
        HELP = "broken"
        add_arguments = staticmethod(lambda _parser: None)

        @staticmethod
        def run(_args: object) -> int:
            raise ZeroDivisionError

    monkeypatch.setattr(importlib, "import_module", lambda _name: Broken)
    with pytest.raises(ZeroDivisionError):
        main(["status"])


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    pipeline = f"{sys.executable} -m sentinel.cli.main status --help | head -1"
    result = subprocess.run(["bash", "-c", pipeline], capture_output=True, text=True, cwd=REPOSITORY)
    assert result.stderr == ""
