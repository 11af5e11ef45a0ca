from __future__ import annotations

import json
import uuid
from dataclasses import replace

import numpy as np
import pytest

from detection.detect import AnomalyRow, anomaly_id, anomaly_rows, insert_anomalies, insert_shifts
from detection.fold import PartitionState, Rows, Shift
from detection.models import Anomaly, BaselineShift
from detection.profile import Profile
from ingestion.event_batch import EventBatch
from ingestion.limits import Limits
from ingestion.models import PartitionCursor, Project, Series
from ingestion.validate import Accepted, decode_event

pytestmark = pytest.mark.django_db

TIME_US = 1_700_000_000_000_000


def event(latency_ms: float, tokens: int, cost_usd: float, *, service: str = "chat\tapi \\N") -> Accepted:
    payload = {
        "service_name": service,
        "model": "gpt-4",
        "prompt": {"text": "", "tokens": tokens},
        "response": {"text": "", "tokens": 0, "finish_reason": "stop"},
        "latency_ms": latency_ms,
        "cost_usd": cost_usd,
    }
    accepted = decode_event(
        json.dumps(payload).encode(), log_time_us=TIME_US, default_event_id=uuid.uuid4, limits=Limits()
    )
    assert isinstance(accepted, Accepted)
    return accepted


@pytest.fixture
def project() -> Project:
    return Project.objects.create(slug="test", name="Test")


@pytest.fixture
def cursor(project: Project) -> PartitionCursor:
    return PartitionCursor.objects.create(
        project=project, cluster_id="c", topic_id="t", topic="llm.telemetry", partition=0
    )


@pytest.fixture
def rows(project: Project, cursor: PartitionCursor) -> list[AnomalyRow]:
    """Give the anomalies of 300 ordinary events and one that is slow, long and expensive."""
    random = np.random.default_rng(0)
    ordinary = [
        event(100.0 + random.normal(), 50 + int(random.integers(10)), 0.01 * random.uniform(0.9, 1.1))
        for _ in range(300)
    ]
    accepted = [*ordinary, event(900.0, 5_000, 1.0)]
    events = EventBatch(project.pk, range(301), [0] * 301, accepted, [None] * 301)
    series = Series.objects.create(project=project, service="chat\tapi \\N", model="gpt-4")
    values = np.stack((events.latency_ms, events.total_tokens, events.cost_usd), axis=1)
    verdicts = PartitionState().advance(
        Rows(np.arange(301), events.series_index, events.series_keys, values), end_offset=301, profile=Profile()
    )
    return anomaly_rows(
        [verdict for verdict in verdicts if verdict.row == 300],
        events,
        cursor_id=cursor.pk,
        series_ids={events.series_keys[0]: series.pk},
        config_version=7,
    )


def test_every_metric_has_its_anomaly_type(rows: list[AnomalyRow]) -> None:
    assert [(row.metric, row.anomaly_type) for row in rows] == [
        ("latency_ms", "latency_spike"),
        ("total_tokens", "token_usage_spike"),
        ("cost_usd", "cost_anomaly"),
    ]


def test_what_is_stored_is_what_was_found(rows: list[AnomalyRow]) -> None:
    insert_anomalies(rows)
    for row in rows:
        stored = Anomaly.objects.get(pk=row.id)
        for name in AnomalyRow.__slots__:
            if name not in {"timestamp_us", "detectors"}:
                assert getattr(stored, name) == getattr(row, name), name
        assert stored.detectors == list(row.detectors)
        assert stored.timestamp == row.timestamp
        assert stored.timestamp.timestamp() == TIME_US / 1e6
        assert stored.explanation == row.explanation
        assert stored.detector == "zscore"


def test_the_sentence_names_metric_value_baseline_and_detectors(rows: list[AnomalyRow]) -> None:
    assert rows[0].explanation.startswith("latency_ms was 900 ms, 9.0x the baseline mean of 99.9")
    assert rows[0].explanation.endswith("over threshold 3.0; also iqr, mad, cusum; 256 samples)")


def test_the_same_anomaly_has_the_same_id_whoever_finds_it(rows: list[AnomalyRow]) -> None:
    row = rows[0]
    assert row.id == anomaly_id(row.project_id, row.event_id, row.timestamp_us, "latency_ms")
    assert row.id != anomaly_id(row.project_id + 1, row.event_id, row.timestamp_us, "latency_ms")
    assert len({each.id for each in rows}) == 3


def test_an_anomaly_that_is_there_stays_and_the_others_go_in(rows: list[AnomalyRow]) -> None:
    insert_anomalies(rows[:1])
    insert_anomalies([replace(rows[0], severity="low"), *rows[1:]])
    assert Anomaly.objects.count() == 3
    assert Anomaly.objects.get(pk=rows[0].id).severity == rows[0].severity


def test_no_anomalies_are_no_query(django_assert_num_queries: object) -> None:
    with django_assert_num_queries(0):  # type: ignore[operator]
        insert_anomalies([])
        insert_shifts([], cursor_id=1, series_ids={})


def test_a_new_level_is_recorded_once(project: Project, cursor: PartitionCursor) -> None:
    series = Series.objects.create(project=project, service="chat", model="gpt-4")
    key = (project.pk, "chat", "gpt-4")
    shift = Shift(key, "latency_ms", 2_048, 1_000, 100.0, 1.0, 300.0, 2.0)
    for _ in range(2):
        insert_shifts([shift], cursor_id=cursor.pk, series_ids={key: series.pk})
    [stored] = BaselineShift.objects.all()
    assert (stored.mean_before, stored.mean_after, stored.log_offset) == (100.0, 300.0, 2_048)
