from __future__ import annotations

import threading
import time
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from ingestion.gauges import FRESH_SECONDS, DatabaseGauges, Figures, days_ahead, read_figures
from ingestion.models import DeadLetter, Gap, PartitionCursor, Project, Topic
from ingestion.partitions import ensure_partitions, partition_name


def shown(gauges: DatabaseGauges) -> dict[tuple[str, ...], float]:
    """Return the samples by name and label values."""
    return {
        (sample.name, *sample.labels.values()): sample.value for family in gauges.collect() for sample in family.samples
    }


def add_cursor(partition: int, **values: Any) -> PartitionCursor:
    row = {"cluster_id": "c", "topic_id": "t", "topic": "llm.telemetry", "log_end_at": datetime.now(UTC)}
    if "project" not in values:
        values["project"] = Project.objects.get(slug="default")
    return PartitionCursor.objects.create(partition=partition, **(row | values))


@pytest.mark.django_db(transaction=True)
def test_partitions_are_counted_by_state_and_by_reason_of_their_halt() -> None:
    add_cursor(0)
    add_cursor(1, halted_because="bad_deploy", halted_reason="x")
    add_cursor(2, halted_reason="of an earlier version")
    add_cursor(3, closed_at=datetime.now(UTC))
    samples = shown(DatabaseGauges())
    assert samples["sentinel_partitions_known",] == 1
    assert samples["sentinel_partitions", "idle"] == 1
    assert samples["sentinel_partitions", "halted"] == 2
    assert samples["sentinel_partitions", "closed"] == 1
    assert samples["sentinel_partitions", "stuck"] == 0
    assert samples["sentinel_partitions_halted", "bad_deploy"] == 1
    assert samples["sentinel_partitions_halted", "other"] == 1
    assert samples["sentinel_partitions_halted", "log_replaced"] == 0


@pytest.mark.django_db(transaction=True)
def test_a_partition_that_stands_shows_its_lag_and_for_how_long_it_stands() -> None:
    cursor = add_cursor(0, next_offset=5, log_end=17, attempt=3, dispatches=2, strikes=2, suspect_end=9)
    since = datetime.now(UTC) - timedelta(seconds=300)
    PartitionCursor.objects.filter(pk=cursor.pk).update(progressed_at=since, range_since=since)
    samples = shown(DatabaseGauges())
    assert samples["sentinel_partition_lag_records", "default", "llm.telemetry", "0"] == 12
    assert samples["sentinel_partition_stalled_seconds", "default", "llm.telemetry", "0"] == pytest.approx(300, abs=10)
    assert samples["sentinel_partition_unseen_seconds", "default", "llm.telemetry", "0"] < 10
    assert samples["sentinel_partition_strikes", "default", "llm.telemetry", "0"] == 2


@pytest.mark.django_db(transaction=True)
def test_a_partition_behind_an_open_transaction_shows_for_how_long() -> None:
    since = datetime.now(UTC) - timedelta(seconds=300)
    add_cursor(0, next_offset=5, log_end=5, held_up_since=since, held_up_offset=5, held_up_end=17)
    add_cursor(1, next_offset=5, log_end=5)
    samples = shown(DatabaseGauges())
    assert samples["sentinel_partition_held_up_seconds", "default", "llm.telemetry", "0"] == pytest.approx(300, abs=10)
    assert samples["sentinel_partition_held_up_seconds", "default", "llm.telemetry", "1"] == 0
    assert samples["sentinel_partition_lag_records", "default", "llm.telemetry", "0"] == 12


@pytest.mark.django_db(transaction=True)
def test_two_cursors_of_one_place_make_one_sample() -> None:
    long_ago = datetime.now(UTC) - timedelta(days=2)
    add_cursor(0, cluster_id="postgres", log_end_at=long_ago)
    add_cursor(0, log_end=3)
    add_cursor(0, topic_id="deleted", closed_at=long_ago, log_end=99)
    families = {family.name: family for family in DatabaseGauges().collect()}
    (lag,) = families["sentinel_partition_lag_records"].samples
    (unseen,) = families["sentinel_partition_unseen_seconds"].samples
    assert lag.value == 3
    assert unseen.value < 10


@pytest.mark.django_db(transaction=True)
def test_each_project_shows_the_lag_of_its_own_topics() -> None:
    other = Project.objects.create(slug="acme", name="Acme")
    add_cursor(0, log_end=3)
    add_cursor(0, project=other, topic="acme.telemetry", topic_id="u", log_end=8)
    samples = shown(DatabaseGauges())
    assert samples["sentinel_partition_lag_records", "default", "llm.telemetry", "0"] == 3
    assert samples["sentinel_partition_lag_records", "acme", "acme.telemetry", "0"] == 8


@pytest.mark.django_db(transaction=True)
def test_series_in_several_partitions_are_counted_by_topic() -> None:
    project = Project.objects.get(slug="default")
    now = datetime.now(UTC)
    Topic.objects.create(
        name="scattered", project=project, scattered_series=3, scattered_example_id=9, scattered_at=now
    )
    Topic.objects.create(name="fine", project=project, scattered_series=0, scattered_at=now)
    samples = shown(DatabaseGauges())
    assert samples["sentinel_scattered_series", "default", "scattered"] == 3
    assert ("sentinel_scattered_series", "default", "fine") not in samples


@pytest.mark.django_db(transaction=True)
def test_gaps_and_dead_letters_are_counted_by_reason() -> None:
    cursor = add_cursor(0)
    Gap.objects.create(cursor=cursor, start_offset=10, end_offset=25, reason="retention")
    Gap.objects.create(cursor=cursor, start_offset=30, end_offset=31, reason="retention")
    letter: dict[str, Any] = {
        "project": cursor.project, "cursor": cursor, "log_time": datetime.now(UTC), "stage": "decode", "size_bytes": 1,
        "sha256": bytes(32),
    }  # fmt: skip
    DeadLetter.objects.create(**letter, log_offset=0, reason="missing_field")
    DeadLetter.objects.create(**letter, log_offset=1, reason="over_quota", records=400)
    old = DeadLetter.objects.create(**letter, log_offset=2, reason="missing_field")
    DeadLetter.objects.filter(pk=old.pk).update(created_at=datetime.now(UTC) - timedelta(hours=2))
    samples = shown(DatabaseGauges())
    assert samples["sentinel_gaps", "retention"] == 2
    assert samples["sentinel_gap_offsets", "retention"] == 16
    assert samples["sentinel_gaps", "closed"] == 0
    assert samples["sentinel_dead_letters_last_hour", "missing_field"] == 1
    assert samples["sentinel_dead_letters_last_hour", "over_quota"] == 400
    assert samples["sentinel_dead_letters_last_hour", "killed_worker"] == 0


@pytest.mark.django_db(transaction=True)
def test_the_page_shows_them_within_seconds_without_any_other_process(client: Client) -> None:
    add_cursor(0, log_end=7)
    sample = 'sentinel_partition_lag_records{partition="0",project="default",topic="llm.telemetry"} 7.0'
    deadline = time.monotonic() + 2 * FRESH_SECONDS
    while sample not in client.get("/metrics").content.decode():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.django_db(transaction=True)
def test_scrapes_close_together_ask_once() -> None:
    asked = []

    def read() -> Figures:
        asked.append(1)
        return read_figures()

    gauges = DatabaseGauges(read)
    for _ in range(5):
        shown(gauges)
    assert len(asked) == 1


@pytest.mark.django_db(transaction=True)
def test_a_table_that_is_locked_holds_no_scrape_up_and_old_figures_are_not_shown() -> None:
    add_cursor(0)
    locked, done, answered = threading.Event(), threading.Event(), threading.Event()

    def read() -> Figures:
        try:
            return read_figures()
        finally:
            answered.set()

    gauges = DatabaseGauges(read, timeout_seconds=0.2)

    def lock() -> None:
        with connection.cursor() as sql:
            sql.execute("BEGIN; LOCK TABLE ingestion_partitioncursor")
            locked.set()
            done.wait(10)
            sql.execute("ROLLBACK")
        connection.close()

    holder = threading.Thread(target=lock)
    holder.start()
    locked.wait(10)
    started = time.monotonic()
    samples = shown(gauges)
    assert time.monotonic() - started < 1
    assert samples == {("sentinel_partitions_known",): 0}
    done.set()
    holder.join()
    assert answered.wait(10)


def test_a_database_that_is_away_leaves_the_figures_out() -> None:
    def read() -> Figures:
        raise OSError

    assert shown(DatabaseGauges(read)) == {("sentinel_partitions_known",): 0}


def test_days_are_counted_up_to_the_first_that_is_missing() -> None:
    today = date(2026, 2, 27)
    ready = [date(2026, 2, 27), date(2026, 2, 28), date(2026, 3, 1), date(2026, 3, 3)]
    assert days_ahead(ready, today=today) == 2
    assert days_ahead([], today=today) == 0


@pytest.mark.django_db(transaction=True)
def test_a_missing_day_shows_before_it_comes() -> None:
    ensure_partitions()
    assert shown(DatabaseGauges())["sentinel_days_ahead", "events"] == 3
    tomorrow = partition_name("events", datetime.now(UTC).date() + timedelta(days=1))
    with connection.cursor() as sql:
        sql.execute(f"DROP TABLE {tomorrow}")
    try:
        samples = shown(DatabaseGauges())
        assert samples["sentinel_days_ahead", "events"] == 0
        assert samples["sentinel_days_missing", "events"] == 1
        assert samples["sentinel_days_missing", "inbox"] == 0
    finally:
        ensure_partitions()
