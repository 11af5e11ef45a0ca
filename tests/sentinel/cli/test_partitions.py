from __future__ import annotations

import argparse
import io
import itertools
import json
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from pytest_django import Settings

from ingestion.log.postgres import create_topics
from ingestion.models import Gap, HaltReason, InboxPartition, PartitionCursor, Project
from sentinel.cli import partitions
from sentinel.cli.problem import Problem

pytestmark = pytest.mark.django_db

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _log_in_postgres(settings: Settings) -> None:
    settings.SENTINEL_BROKERS = []


def add_cursor(**values: Any) -> PartitionCursor:
    row = {
        "cluster_id": "postgres", "topic_id": str(uuid.uuid4()), "topic": "llm.telemetry", "partition": next(_numbers),
        "log_end_at": datetime.now(UTC),
    }  # fmt: skip
    return PartitionCursor.objects.create(project=Project.objects.get(slug="default"), **(row | values))


def add_halted(because: HaltReason, **values: Any) -> PartitionCursor:
    return add_cursor(halted_because=because.value, halted_reason=f"for {because.value}", next_offset=7, **values)


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    partitions.add_arguments(parser)
    return partitions.run(parser.parse_args(arguments))


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Sit at a terminal and type `text`."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal(text))


def is_halted(cursor: PartitionCursor) -> bool:
    return bool(PartitionCursor.objects.get(pk=cursor.pk).halted_reason)


def test_the_list_shows_every_open_partition(capsys: pytest.CaptureFixture[str]) -> None:
    fine, closed = add_cursor(), add_cursor(closed_at=datetime.now(UTC))
    assert run("list") == 0
    out = capsys.readouterr().out
    assert f"{fine}  idle" in out
    assert str(closed) not in out
    assert run("list", "--all") == 0
    assert f"{closed}  closed" in capsys.readouterr().out


def test_an_empty_list_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    assert capsys.readouterr().out == "no partition is known yet\n"


def test_a_halted_partition_makes_the_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    cursor = add_halted(HaltReason.BAD_DEPLOY)
    assert run("list", "--json") == 1
    (row,) = json.loads(capsys.readouterr().out)["partitions"]
    assert (row["id"], row["why"], row["runbook"]) == (cursor.pk, "for bad_deploy", "docs/runbooks/bad-deploy.md")


def test_resume_says_what_will_happen_and_asks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cursor = add_halted(HaltReason.BEYOND_END)
    answer(monkeypatch, "n\n")
    assert run("resume", str(cursor)) == 1
    out = capsys.readouterr().out
    assert "for beyond_end" in out
    assert "It goes on if the log has reached offset 7 by now" in out
    assert out.endswith("Go on? [y/N] Nothing was resumed.\n")
    assert is_halted(cursor)
    answer(monkeypatch, "y\n")
    assert run("resume", str(cursor)) == 0
    assert not is_halted(cursor)


@pytest.mark.parametrize("arguments", [("--json",), ()])
def test_where_nobody_can_be_asked_yes_must_be_said(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    cursor = add_halted(HaltReason.BEYOND_END)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(Problem, match="--yes"):
        run("resume", str(cursor), *arguments)
    assert is_halted(cursor)


def test_a_partition_is_named_by_its_id_too(capsys: pytest.CaptureFixture[str]) -> None:
    cursor = add_halted(HaltReason.POISONED_BUILD)
    assert run("resume", str(cursor.pk), "--set-aside", "--yes", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"resumed": [str(cursor)], "refused": []}
    assert PartitionCursor.objects.get(pk=cursor.pk).condemned_offset == 7


def test_of_two_partitions_with_one_name_the_halted_one_is_meant() -> None:
    halted = add_halted(HaltReason.OTHER_CLUSTER, partition=900)
    add_cursor(partition=900)
    assert run("resume", "llm.telemetry[900]", "--yes") == 0
    assert not is_halted(halted)


def test_a_name_of_two_halted_partitions_is_ambiguous() -> None:
    ids = [add_halted(HaltReason.OTHER_CLUSTER, partition=901).pk for _ in range(2)]
    with pytest.raises(Problem, match=f"name one by its id: {ids[0]}, {ids[1]}"):
        run("resume", "llm.telemetry[901]", "--yes")


@pytest.mark.parametrize("name", ["llm.telemetry[99999]", "999999"])
def test_an_unknown_partition_is_a_problem(name: str) -> None:
    with pytest.raises(Problem, match="there is no open partition"):
        run("resume", name, "--yes")


@pytest.mark.parametrize("name", ["llm.telemetry", "[1]", "t[x]"])
def test_what_names_no_partition_is_a_problem(name: str) -> None:
    with pytest.raises(Problem, match="names no partition"):
        run("resume", name, "--yes")


@pytest.mark.parametrize("arguments", [(), ("llm.telemetry[1]", "--all")])
def test_either_names_or_all(arguments: tuple[str, ...]) -> None:
    with pytest.raises(Problem, match="name partitions, or --all"):
        run("resume", *arguments)


def test_one_that_is_not_halted_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    cursor = add_cursor()
    assert run("resume", str(cursor), "--yes") == 1
    assert capsys.readouterr().err == f"sentinel partitions: {cursor} is not halted\n"


def test_all_goes_on_where_it_may_and_says_where_it_may_not(capsys: pytest.CaptureFixture[str]) -> None:
    replaced, beyond = add_halted(HaltReason.LOG_REPLACED), add_halted(HaltReason.BEYOND_END)
    assert run("resume", "--all", "--yes") == 1
    assert "only if you accept the log as it is now" in capsys.readouterr().err
    assert (is_halted(replaced), is_halted(beyond)) == (True, False)


def test_a_partition_that_is_gone_is_closed_with_a_gap(capsys: pytest.CaptureFixture[str]) -> None:
    cursor = add_cursor(next_offset=40, log_end=52)
    assert run("close", str(cursor), "--yes") == 0
    assert capsys.readouterr().out == f"{cursor} is closed. 12 offsets were never ingested; a gap records them.\n"
    assert Gap.objects.get().reason == "closed"


def test_closing_says_what_is_lost_and_asks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cursor = add_cursor(next_offset=40, log_end=52)
    answer(monkeypatch, "\n")
    assert run("close", str(cursor)) == 1
    assert "12 offsets were never ingested" in capsys.readouterr().out
    assert not Gap.objects.exists()


def test_a_partition_that_the_log_still_has_cannot_be_closed() -> None:
    create_topics(["llm.telemetry"])
    row = InboxPartition.objects.get(topic="llm.telemetry", partition=0)
    cursor = add_cursor(topic_id=str(row.topic_id), partition=0)
    with pytest.raises(Problem, match="the log still has"):
        run("close", str(cursor), "--yes")
