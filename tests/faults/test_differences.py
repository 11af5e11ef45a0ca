"""The comparison finds what a fault could do, and nothing where nothing was done: databases are changed by hand."""

from __future__ import annotations

import subprocess
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg2
import pytest
import redis
from django.conf import settings

from alerting.models import AlertRule
from alerting.rules import forget_rules
from ingestion import cursor as cursors
from ingestion.cursor_lock import LOCK_CLASS
from ingestion.log.base import NewRecord
from ingestion.log.postgres import PARTITIONS, append_now
from ingestion.models.project import TextPolicy
from ingestion.partitions import ensure_partitions
from tests.faults.differences import Differences, Invariant, differences
from tests.faults.features import COMPARED, NOT_COMPARED
from tests.faults.invariants import cache, quiet, records
from tests.faults.reference import Reference
from tests.faults.setting import read_setting
from tests.faults.witness import Witness, url_of_connection
from tests.sentinel.pipeline.conftest import Partition, Worker, event, new_partition, new_worker

EVENTS = 600
LATE_AT, INVALID_AT, DUPLICATE_AT = 100, 200, 300


def log_of_everything() -> list[bytes]:
    """Return events that hold anomalies, with a late one, an invalid one and a duplicate among them."""
    found = [event(number) for number in range(EVENTS)]
    found[LATE_AT] = event(LATE_AT, timestamp="2019-01-01T00:00:00Z")
    found[INVALID_AT] = b"{not json"
    found[DUPLICATE_AT] = event(DUPLICATE_AT - 150)
    return found


@dataclass
class Ingested:
    """A partition that was ingested undisturbed, and what says so."""

    partition: Partition
    worker: Worker
    witness: Witness

    def reference(self) -> Reference:
        topic = self.partition.topic
        found = Reference(self.partition.log, read_setting(self.witness, topic), topic)
        found.advance()
        return found

    def differences(self) -> Differences:
        return differences(self.reference(), self.witness.url)


@pytest.fixture
def empty(transactional_db: None, redis_url: str) -> Iterator[Ingested]:
    ensure_partitions()
    partition = new_partition()
    AlertRule.objects.create(
        project_id=partition.cursor.project_id, name="all", min_severity="low", cooldown_seconds=60
    )
    forget_rules()
    with closing(Witness(url_of_connection(), topic=partition.topic)) as witness:
        yield Ingested(partition, new_worker(), witness)


@pytest.fixture
def ingested(empty: Ingested) -> Ingested:
    empty.partition.append(*log_of_everything())
    empty.worker.drain(empty.partition, batch_records=170)
    return empty


def test_an_undisturbed_ingestion_has_no_differences(ingested: Ingested) -> None:
    found = ingested.differences()
    assert found.holds, found
    assert (found.records, found.events) == (EVENTS, EVENTS - 3)
    assert found.anomalies > 5
    assert ingested.reference().alerts()


ANOMALY = "(SELECT min(id::text)::uuid FROM detection_anomaly)"
NEW_LEVEL = """
    INSERT INTO detection_baselineshift
        (cursor_id, series_id, metric, log_offset, samples, mean_before, stddev_before, mean_after, stddev_after)
    SELECT cursor_id, series_id, metric, 256, 1, 1, 1, 1, 1 FROM detection_anomaly LIMIT 1
"""
ONCE, CHAIN = Invariant.EVERY_RECORD_ONCE, Invariant.CHAIN_OF_BATCHES


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("DELETE FROM events WHERE log_offset = 400", ONCE),
        ("UPDATE events SET log_offset = 10000 WHERE log_offset = 400", ONCE),
        ("UPDATE events SET latency_ms = latency_ms + 0.001 WHERE log_offset = 400", ONCE),
        ("UPDATE events SET timestamp = timestamp + interval '1 us' WHERE log_offset = 400", ONCE),
        ("UPDATE events SET scored = false WHERE log_offset = 400", ONCE),
        ("DELETE FROM ingestion_deadletter", ONCE),
        ("UPDATE ingestion_deadletter SET reason = 'too_large'", ONCE),
        ("DELETE FROM ingestion_lateevent", ONCE),
        ("UPDATE ingestion_lateevent SET log_offset = 400", ONCE),
        ("DELETE FROM ingestion_batch WHERE start_offset = 170", CHAIN),
        ("UPDATE ingestion_batch SET stored = stored + 1, duplicates = duplicates - 1 WHERE start_offset = 170", CHAIN),
        ("UPDATE ingestion_batch SET end_offset = 400 WHERE start_offset = 170", CHAIN),
        ("UPDATE ingestion_partitioncursor SET next_offset = 599", CHAIN),
        ("UPDATE ingestion_partitioncursor SET halted_because = 'bad_deploy'", Invariant.NOT_HALTED),
        (f"DELETE FROM detection_anomaly WHERE id = {ANOMALY}", Invariant.VERDICTS_EQUAL),
        (f"UPDATE detection_anomaly SET id = gen_random_uuid() WHERE id = {ANOMALY}", Invariant.VERDICTS_EQUAL),
        (f"UPDATE detection_anomaly SET severity = 'none' WHERE id = {ANOMALY}", Invariant.VERDICTS_EQUAL),
        (
            f"UPDATE detection_anomaly SET baseline_mean = baseline_mean * (1 + 1e-15) WHERE id = {ANOMALY}",
            Invariant.BASELINE_BASIS_EQUAL,
        ),
        (f"UPDATE detection_anomaly SET samples = samples - 1 WHERE id = {ANOMALY}", Invariant.BASELINE_BASIS_EQUAL),
        (
            f"UPDATE detection_anomaly SET details = details || '{{\"q1\": 1}}' WHERE id = {ANOMALY}",
            Invariant.BASELINE_BASIS_EQUAL,
        ),
        (NEW_LEVEL, Invariant.BASELINE_BASIS_EQUAL),
        ("UPDATE metric_rollup SET events = 2 * events, latency_sum = 2 * latency_sum", Invariant.ROLLUPS_RECOUNTED),
        ("UPDATE metric_rollup SET cost_sum = cost_sum + 0.000000001", Invariant.ROLLUPS_RECOUNTED),
        ("DELETE FROM metric_rollup", Invariant.ROLLUPS_RECOUNTED),
        (
            "DELETE FROM alerting_outboxentry WHERE id = (SELECT min(id::text)::uuid FROM alerting_outboxentry)",
            Invariant.OUTBOX_ONCE,
        ),
        ("UPDATE alerting_outboxentry SET id = gen_random_uuid()", Invariant.OUTBOX_ONCE),
        ("UPDATE alerting_outboxentry SET severity = 'none'", Invariant.OUTBOX_ONCE),
        (
            "UPDATE alerting_outboxentry SET status = 'suppressed', suppression_reason = 'duplicate_in_window'",
            Invariant.OUTBOX_ONCE,
        ),
        (
            "UPDATE alerting_outboxentry SET status = 'suppressed', suppression_reason = 'stale' WHERE status = 'pending'",
            Invariant.OUTBOX_ONCE,
        ),
        ("UPDATE alerting_outboxentry SET status = 'delivered', suppression_reason = ''", Invariant.OUTBOX_ONCE),
    ],
)
def test_what_was_changed_by_hand_is_found(ingested: Ingested, statement: str, broken: Invariant) -> None:
    assert ingested.witness.execute(statement) >= 1
    assert ingested.differences().broken == {broken}


def test_a_lost_event_is_counted_as_lost_and_named(ingested: Ingested) -> None:
    ingested.witness.execute("DELETE FROM events WHERE log_offset IN (400, 401)")
    found = ingested.differences()
    assert (found.lost, found.doubled) == (2, 0)
    assert "[0]@400" in str(found)


def test_an_event_that_is_stored_again_elsewhere_is_counted_as_doubled(ingested: Ingested) -> None:
    ingested.witness.execute(
        "CREATE TEMP TABLE again AS SELECT * FROM events WHERE log_offset = 400; "
        "UPDATE again SET log_offset = 10000, timestamp = timestamp + interval '1 us'; "
        "INSERT INTO events SELECT * FROM again; DROP TABLE again"
    )
    found = ingested.differences()
    assert (found.lost, found.doubled) == (0, 1)


def test_two_events_of_one_offset_are_counted_as_doubled(ingested: Ingested) -> None:
    ingested.witness.execute("UPDATE events SET log_offset = 400 WHERE log_offset = 401")
    found = ingested.differences()
    assert (found.lost, found.doubled) == (1, 1)


def test_a_good_record_among_the_dead_letters_is_found(ingested: Ingested) -> None:
    ingested.witness.execute(
        "CREATE TEMP TABLE again AS SELECT * FROM ingestion_deadletter; "
        "UPDATE again SET id = id + 1, log_offset = 400, reason = 'killed_worker'; "
        "INSERT INTO ingestion_deadletter SELECT * FROM again; DROP TABLE again"
    )
    assert ingested.differences().broken == {Invariant.NO_GOOD_RECORD_DEAD_LETTERED}


def test_a_row_beyond_the_quota_stands_for_the_records_that_it_counts(ingested: Ingested) -> None:
    over_quota = "UPDATE ingestion_deadletter SET reason = 'over_quota', records = %s"
    ingested.witness.execute(over_quota, 1)
    assert ingested.differences().holds
    ingested.witness.execute(over_quota, 2)
    assert ingested.differences().broken == {ONCE}


# --- every column ----------------------------------------------------------------------------------------------------

# The same in all events here.
SAME = {"project_id", "scored"}
SWAP = """
    UPDATE events SET {column} = other.{column} FROM events other
    WHERE other.cursor_id = events.cursor_id AND other.log_offset = 1 - events.log_offset
"""


def event_of_every_column(number: int) -> bytes:
    """Return an event that leaves nothing out; two of them differ in everything."""
    word = ("alpha", "beta")[number]
    text = f"{word} to {word}@example.org, " * 30
    part = {"text": text, "tokens": 60_000 + number, "embedding": [1e-05, 0.1 + number], "original_length": 9_000}
    call = {"id": word, "name": word, "arguments": {"b": number, "a": [1e-07, None]}, "result": word, "error": word}
    named = {
        name: f"{name}-{word}"
        for name in (
            "provider", "operation", "requested_model", "response_model", "environment", "trace_id", "span_id",
            "parent_span_id", "session_id", "user_id", "prompt_template_id", "prompt_template_version", "response_id",
            "sdk_name", "sdk_version",
        )
    }  # fmt: skip
    return event(
        number,
        **named,
        model=f"model-{word}",
        prompt={**part, "original_length": 9_000 + number, "original_sha256": f"{number}" * 64},
        response={**part, "original_sha256": f"{number + 2}" * 64, "finish_reason": word, "original_length": number},
        latency_ms=(0.1 + 0.2, 1e6)[number],
        ttft_ms=1 / 3 + number,
        cost_usd=(1e-07, 1e7)[number],
        sample_weight=2.5 + number,
        cached_tokens=number,
        cache_write_tokens=number,
        reasoning_tokens=number,
        token_source=("reported", "estimated")[number],
        cost_source=("caller", "provider")[number],
        content_mode=("full", "redacted")[number],
        metadata={word: "ü \n\t\\", "number": 1e300, "password": "secret"},
        errors=(["down", "503\n"], [])[number],
        features={word: 1e-09, "long": 123456789.123456789, "negative": -0.0, "huge": 1e300},
        tool_calls=[call, {"name": "bare"}][number:],
        retrieved_context=[{"id": word, "text": text, "score": 0.1 + number}, {}][number:],
    )


def test_every_column_of_events_is_compared_or_named_as_one_that_the_log_does_not_determine(empty: Ingested) -> None:
    columns = empty.witness.rows("SELECT column_name FROM information_schema.columns WHERE table_name = 'events'")
    assert {name for (name,) in columns} == {*COMPARED, *NOT_COMPARED}
    assert NOT_COMPARED.isdisjoint(COMPARED)


def test_any_column_that_two_events_have_exchanged_is_found(empty: Ingested) -> None:
    empty.partition.append(event_of_every_column(0), event_of_every_column(1))
    empty.worker.drain(empty.partition, batch_records=2)
    reference = empty.reference()
    for column in [name for name in COMPARED if name not in SAME]:
        assert empty.witness.execute(SWAP.format(column=column)) == 2
        found = Differences()
        records.check(reference, empty.witness, found)
        assert [(breach.invariant, breach.count) for breach in found.breaches] == [(ONCE, 2)], column
        empty.witness.execute(SWAP.format(column=column))
    assert differences(reference, empty.witness.url).holds


@pytest.mark.parametrize("policy", TextPolicy.values)
@pytest.mark.parametrize("option", ["keep_embeddings", "pseudonymise"])
def test_what_the_project_wants_stored_is_expected(empty: Ingested, policy: str, option: str) -> None:
    change = f"UPDATE ingestion_project SET text_policy = %s, {option} = %s"
    empty.witness.execute(change, policy, True)
    long = event(2, prompt={"text": "ä" * 20_000, "tokens": 1})
    empty.partition.append(event_of_every_column(0), event_of_every_column(1), long, event(3, metadata={}))
    empty.worker.drain(empty.partition, batch_records=3)
    found = empty.differences()
    assert found.holds, found
    assert found.events == 4
    others = {*TextPolicy.values} - {policy}
    for other, is_set in [*((other, True) for other in others), (policy, False)]:
        empty.witness.execute(change, other, is_set)
        assert empty.differences().broken == {ONCE}


# --- several partitions ----------------------------------------------------------------------------------------------


def key_of(partition: int) -> bytes:
    """Return a key whose records go to `partition`."""
    return next(key for key in (b"%d" % n for n in range(1_000)) if zlib.crc32(key) % PARTITIONS == partition)


def second_partition(first: Partition) -> Partition:
    cursor = first.cursor
    cursor.pk, cursor.partition = None, 1
    cursor.save(force_insert=True)
    return Partition(cursor.pk, first.topic)


def ingest_alternately(empty: Ingested) -> None:
    """Ingest events of which every fifth comes through two partitions, each of which is first with some of them."""
    second = second_partition(empty.partition)
    shared = [n for n in range(EVENTS) if n % 5 == 0]
    empty.partition.append(*[event(n) for n in range(EVENTS)])
    others = [NewRecord(key_of(1), event(n)) for n in [*range(EVENTS, 2 * EVENTS), *shared]]
    append_now(empty.partition.topic, others)
    empty.worker.drain(empty.partition, batch_records=100, until=EVENTS // 2)
    while drain_second(empty, second):
        pass
    empty.worker.drain(empty.partition, batch_records=100)


def drain_second(empty: Ingested, second: Partition) -> bool:
    cursor = second.cursor
    end = second.log.end_offsets([(second.topic, 1)])[second.topic, 1]
    if cursor.next_offset >= end:
        return False
    task = cursors.dispatch(cursor, end=min(end, cursor.next_offset + 250))
    assert task is not None
    empty.worker.pipeline.ingest(task)
    return True


def test_an_event_of_two_partitions_belongs_to_whichever_was_first(empty: Ingested) -> None:
    ingest_alternately(empty)
    found = empty.differences()
    assert found.holds, found
    assert found.events == 2 * EVENTS
    per_partition = empty.witness.rows("SELECT count(*) FROM events GROUP BY cursor_id ORDER BY 1")
    assert per_partition == [(EVENTS - EVENTS // 10,), (EVENTS + EVENTS // 10,)]


def test_an_event_that_neither_of_two_partitions_has_stored_is_lost(empty: Ingested) -> None:
    ingest_alternately(empty)
    # The first one has event 0 too, at its offset 0.
    empty.witness.execute("DELETE FROM events WHERE log_offset = 0 AND cursor_id = %s", empty.partition.cursor_id)
    found = empty.differences()
    assert found.lost == 1
    assert ONCE in found.broken


# --- what is left behind ---------------------------------------------------------------------------------------------


@pytest.fixture
def client() -> Iterator[Any]:
    with redis.Redis.from_url(settings.REDIS_URL) as found:
        yield found


def cached(ingested: Ingested, client: Any) -> tuple[int, Differences]:
    found = Differences()
    compared = cache.check(
        ingested.reference(), ingested.witness, client, found, installation=settings.SENTINEL_INSTALLATION
    )
    return compared, found


def test_baselines_in_redis_are_those_of_the_reference(ingested: Ingested, client: Any) -> None:
    compared, found = cached(ingested, client)
    assert compared == 1
    assert found.holds, found


def test_another_baseline_in_redis_is_found(ingested: Ingested, client: Any) -> None:
    (key,) = client.keys("*:baselines:*")
    series = next(name for name in client.hkeys(key) if name.startswith(b"["))
    state = bytearray(client.hget(key, series) or b"")
    state[-1] ^= 1
    client.hset(key, series, bytes(state))
    assert cached(ingested, client)[1].broken == {Invariant.BASELINE_CACHE_EQUAL}


def test_a_stamp_of_another_batch_is_not_compared(ingested: Ingested, client: Any) -> None:
    (key,) = client.keys("*:baselines:*")
    client.hset(key, "stamp", 0)
    assert cached(ingested, client)[0] == 0


def left_behind(ingested: Ingested, client: Any, monkeypatch: pytest.MonkeyPatch) -> Differences:
    monkeypatch.setattr(quiet, "PATIENCE_SECONDS", 0.3)
    found = Differences()
    quiet.check(ingested.witness, client, found, installation=settings.SENTINEL_INSTALLATION)
    return found


def test_nothing_is_left_behind(ingested: Ingested, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert left_behind(ingested, client, monkeypatch).holds


def test_a_held_lock_is_found(ingested: Ingested, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(psycopg2.connect(ingested.witness.url)) as other:
        other.autocommit = True
        other.cursor().execute("SELECT pg_advisory_lock(%s, 1)", [LOCK_CLASS])
        assert left_behind(ingested, client, monkeypatch).broken == {Invariant.NO_LOCK_HELD}


def test_an_open_transaction_is_found(ingested: Ingested, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(psycopg2.connect(ingested.witness.url)) as other:
        other.cursor().execute("SELECT 1")
        assert left_behind(ingested, client, monkeypatch).broken == {Invariant.NO_IDLE_TRANSACTION}


@pytest.mark.parametrize("queue", [settings.SENTINEL_QUEUE_INGEST, settings.SENTINEL_QUEUE_BEHIND])
def test_a_queued_task_is_found(ingested: Ingested, client: Any, monkeypatch: pytest.MonkeyPatch, queue: str) -> None:
    client.lpush(f"sentinel:{settings.SENTINEL_INSTALLATION}:{queue}", "{}")
    assert left_behind(ingested, client, monkeypatch).broken == {Invariant.QUEUE_EMPTY}


def test_a_process_that_outlives_its_parent_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "PATIENCE_SECONDS", 0.3)
    found = Differences()
    with subprocess.Popen(["sleep", "60"], process_group=0) as process:
        quiet.check_processes({process.pid}, found)
        process.kill()
    assert found.broken == {Invariant.NO_ORPHAN_PROCESS}
    gone = Differences()
    quiet.check_processes({process.pid}, gone)
    assert gone.holds
