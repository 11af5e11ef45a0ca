from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from django.test import Client

from api.baselines import join_summaries
from detection.checkpoint import summarise
from detection.fold import PartitionState, Rows
from detection.models import Baseline
from detection.profile import METRICS, Profile
from ingestion.models import PartitionCursor, Project, Series

URL = "/api/v1/baselines"
AddBaseline = Callable[..., Baseline]


@pytest.fixture
def add_baseline(project: Project, add_cursor: Callable[..., PartitionCursor]) -> AddBaseline:
    def add(latencies: Sequence[float], *, service: str = "chat-api", model: str = "gpt-4", **values: Any) -> Baseline:
        owner = values.pop("project", project)
        key = (owner.pk, service, model)
        state = PartitionState(next_offset=0)
        table = np.full((len(latencies), len(METRICS)), np.nan)
        table[:, 0] = latencies
        count = len(latencies)
        rows = Rows(
            offset=np.arange(count, dtype=np.int64),
            series=np.zeros(count, dtype=np.int32),
            series_keys=[key],
            values=table,
        )
        state.advance(rows, end_offset=count, profile=Profile())
        series, _ = Series.objects.get_or_create(project=owner, service=service, model=model)
        row = {
            "cursor": add_cursor(project=owner),
            "series": series,
            "batch_id": 1,
            "next_offset": count,
            "state": state.encode(key),
            "summary": summarise(state.learned(key)),
        }
        return Baseline.objects.create(**(row | values))

    return add


def test_has_exactly_the_documented_shape(reader: Client, add_baseline: AddBaseline) -> None:
    latencies = [100.0, 110.0, 120.0, 130.0]
    add_baseline(latencies)
    body = reader.get(URL, {"service": "chat-api", "model": "gpt-4"}).json()
    assert list(body) == ["baselines"]
    (item,) = body["baselines"]
    assert list(item) == ["key", "samples", "mean", "stddev", "median", "p95", "p99"]
    assert item == {
        "key": "chat-api:gpt-4:latency_ms",
        "samples": 4,
        "mean": 115.0,
        "stddev": pytest.approx(np.std(latencies)),
        "median": 115.0,
        "p95": pytest.approx(np.percentile(latencies, 95)),
        "p99": pytest.approx(np.percentile(latencies, 99)),
    }


def test_a_series_of_several_partitions_is_one_baseline_over_all_its_values(
    reader: Client, add_baseline: AddBaseline
) -> None:
    one, two = [100.0, 110.0, 120.0], [200.0, 210.0]
    add_baseline(one)
    add_baseline(two)
    (item,) = reader.get(URL).json()["baselines"]
    together = np.array(one + two)
    assert item["samples"] == 5
    assert item["mean"] == pytest.approx(together.mean(), rel=1e-12)
    assert item["stddev"] == pytest.approx(together.std(), rel=1e-12)
    assert [item["median"], item["p95"], item["p99"]] == pytest.approx(np.percentile(together, [50, 95, 99]).tolist())


def test_windows_of_other_code_are_joined_by_their_moments(reader: Client, add_baseline: AddBaseline) -> None:
    one, two = [100.0, 110.0, 120.0], [200.0, 210.0]
    add_baseline(one)
    add_baseline(two, state=b"of another version")
    (item,) = reader.get(URL).json()["baselines"]
    together = np.array(one + two)
    assert (item["samples"], item["median"]) == (5, 110.0)
    assert item["mean"] == pytest.approx(together.mean(), rel=1e-12)
    assert item["stddev"] == pytest.approx(together.std(), rel=1e-12)


def test_moments_of_nearly_equal_values_join_exactly() -> None:
    parts = [np.array([1e9 + 1, 1e9 + 2]), np.array([1e9 + 3, 1e9 + 4, 1e9 + 5])]
    joined = join_summaries([summarise({"latency_ms": part}) for part in parts], "latency_ms")
    assert joined is not None
    together = np.concatenate(parts)
    assert joined["mean"] == together.mean()
    assert joined["stddev"] == pytest.approx(together.std(), rel=1e-9)


def test_service_and_model_choose(reader: Client, add_baseline: AddBaseline) -> None:
    for service in ("search", "chat-api"):
        for model in ("gpt-4", "claude"):
            add_baseline([1.0], service=service, model=model)

    def keys(**query: str) -> list[str]:
        return [item["key"].removesuffix(":latency_ms") for item in reader.get(URL, query).json()["baselines"]]

    assert keys() == ["chat-api:claude", "chat-api:gpt-4", "search:claude", "search:gpt-4"]
    assert keys(service="search") == ["search:claude", "search:gpt-4"]
    assert keys(model="gpt-4") == ["chat-api:gpt-4", "search:gpt-4"]
    assert keys(service="search", model="gpt-4") == ["search:gpt-4"]
    assert keys(service="mail") == []


def test_pages_hold_every_series_once(reader: Client, add_baseline: AddBaseline) -> None:
    for number in range(5):
        add_baseline([1.0], service=f"s{number}")
    found: list[str] = []
    url = f"{URL}?limit=2"
    while url:
        response = reader.get(url)
        found += [item["key"] for item in response.json()["baselines"]]
        url = response.headers.get("Link", "").removeprefix("<").partition(">")[0]
    assert found == [f"s{number}:gpt-4:latency_ms" for number in range(5)]


def test_a_page_never_splits_a_series(reader: Client, add_baseline: AddBaseline) -> None:
    summary = add_baseline([1.0], service="a").summary["latency_ms"]
    Baseline.objects.update(summary=dict.fromkeys(METRICS, summary))
    add_baseline([1.0], service="b")
    response = reader.get(URL, {"limit": "1"})
    assert [item["key"].split(":")[2] for item in response.json()["baselines"]] == list(METRICS)
    assert "Link" in response.headers


def test_another_projects_baselines_are_not_shown(
    stranger: Client, reader: Client, add_baseline: AddBaseline, other_project: Project
) -> None:
    add_baseline([1.0])
    assert stranger.get(URL).json() == {"baselines": []}
    add_baseline([2.0, 3.0], project=other_project)
    assert [item["samples"] for item in reader.get(URL).json()["baselines"]] == [1]


@pytest.mark.parametrize("name", ["hours", "metric"])
def test_an_unknown_parameter_is_refused(reader: Client, name: str) -> None:
    response = reader.get(URL, {name: "1"})
    assert response.status_code == 400
    assert response.json()["error"]["message"] == (
        f"{name}: Unknown parameter; this endpoint has: service, model, limit, cursor."
    )
