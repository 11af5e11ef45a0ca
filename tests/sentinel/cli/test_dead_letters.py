from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pytest_django import Settings

from ingestion.models import DeadLetter, InboxPartition, PartitionCursor, Project
from sentinel.cli import dead_letters

pytestmark = pytest.mark.django_db(transaction=True)

_offsets = itertools.count()


@pytest.fixture(autouse=True)
def _inbox(settings: Settings, transactional_db: None) -> Iterator[None]:
    from ingestion.log.configured import create_topics
    from ingestion.log.producer import appender

    settings.SENTINEL_BROKERS = []
    appender.cache_clear()
    create_topics(["llm.telemetry"])
    yield
    appender().close()
    appender.cache_clear()


@pytest.fixture
def cursor() -> PartitionCursor:
    return PartitionCursor.objects.create(
        project=Project.objects.get(slug="default"), cluster_id="c", topic_id="t", topic="llm.telemetry", partition=0
    )


def add(cursor: PartitionCursor, **values: Any) -> DeadLetter:
    row: dict[str, Any] = {
        "project": cursor.project, "cursor": cursor, "log_offset": next(_offsets), "log_time": datetime.now(UTC),
        "stage": "decode", "reason": "missing_field", "message": "latency_ms is required", "size_bytes": 2,
        "sha256": bytes(32), "payload": "{}",
    }  # fmt: skip
    return DeadLetter.objects.create(**(row | values))


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    dead_letters.add_arguments(parser)
    return dead_letters.run(parser.parse_args(arguments))


def test_the_list_shows_stage_reason_and_how_many_records(
    cursor: PartitionCursor, capsys: pytest.CaptureFixture[str]
) -> None:
    add(cursor, reason="over_quota", records=4_000, payload="")
    assert run("list") == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert line.split()[4:7] == ["4,000", "decode", "over_quota"]


def test_a_letter_shows_its_record(cursor: PartitionCursor, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", str(add(cursor).pk)) == 0
    out = capsys.readouterr().out
    assert "payload            {}" in out
    assert "withheld" not in out


def test_a_letter_without_a_record_says_why(cursor: PartitionCursor, capsys: pytest.CaptureFixture[str]) -> None:
    letter = add(cursor, reason="killed_worker", stage="scrub", payload="")
    assert run("show", str(letter.pk), "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    why = "it killed its worker: only size and hash are kept"
    assert (shown["payload"], shown["payload_withheld"], shown["cannot_be_replayed"]) == ("", why, why)


def test_a_replay_says_of_each_letter_that_was_skipped_why(
    cursor: PartitionCursor, capsys: pytest.CaptureFixture[str]
) -> None:
    good, cut, killer = add(cursor), add(cursor, payload_cut=True), add(cursor, reason="killed_worker", payload="")
    ids = [str(pk) for pk in (good.pk, cut.pk, killer.pk, 0)]
    assert run("replay", *ids) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1 replayed, 3 skipped (1 unknown, 1 no payload, 1 payload cut)"
    assert lines[1:] == [
        f"  {cut.pk}: its payload was cut when it was set aside; what is left is no event",
        f"  {killer.pk}: it killed its worker: only size and hash are kept",
        "  0: there is no such dead letter",
    ]
    assert sum(InboxPartition.objects.values_list("end_offset", flat=True)) == 1


def test_json_of_a_replay_names_each_skipped_letter(
    cursor: PartitionCursor, capsys: pytest.CaptureFixture[str]
) -> None:
    letter = add(cursor, payload="", size_bytes=0)
    assert run("replay", str(letter.pk), "--json") == 0
    assert json.loads(capsys.readouterr().out)["skips"] == [{"id": letter.pk, "why": "it was empty"}]


def test_a_replay_that_the_log_cuts_short_says_what_was_replayed(
    cursor: PartitionCursor, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = PartitionCursor.objects.create(
        project=cursor.project, cluster_id="c", topic_id="g", topic="gone", partition=0
    )
    good, lost = add(cursor), add(gone)
    assert run("replay", str(good.pk), str(lost.pk)) == 1
    why = "the log did not confirm it; it stays open, and may be in the log nevertheless"
    assert capsys.readouterr().out.splitlines() == [
        "1 replayed, 1 not confirmed by the log",
        f"  {lost.pk}: {why} (Topic gone does not exist in the inbox)",
    ]


def test_json_of_a_replay_counts_each_fate_and_names_the_letters_in_doubt(
    cursor: PartitionCursor, capsys: pytest.CaptureFixture[str]
) -> None:
    InboxPartition.objects.all().delete()
    letter = add(cursor)
    assert run("replay", str(letter.pk), "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert {name: found[name] for name in ("replayed", "skipped", "unconfirmed", "unmarked")} == {
        "replayed": 0, "skipped": 0, "unconfirmed": 1, "unmarked": 0,
    }  # fmt: skip
    assert [(item["id"], item["fate"]) for item in found["in_doubt"]] == [(letter.pk, "unconfirmed")]
