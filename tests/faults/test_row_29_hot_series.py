"""Row 29: nine tenths of the traffic belong to one series, and so to one partition."""

from __future__ import annotations

import re
import time
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.faults.arena import Arenas

pytestmark = pytest.mark.fault

HOT_PARTITION = 0
HOT_EVENTS = 18_000
OTHERS_PER_SECOND = 100
# The bridge keeps the ends of what stands still every two seconds.
LAG_KNOWN_SECONDS = 4.0
BOUND_SECONDS = 5.0


def test_row_29_a_hot_series_holds_up_nobody_but_itself(arenas: Arenas) -> None:
    with arenas.open(row="29", fault="nine tenths of the traffic in one series") as arena:
        arena.start_load(per_second=OTHERS_PER_SECOND)
        url = arena.start_web()
        hot = [of_one_series(event.value) for event in arena.load.events_to_come(HOT_EVENTS)]
        with arena.fault() as fault:
            arena.crew.stop("worker")
            for value in hot:
                arena.load.send(value, partition=HOT_PARTITION)
            time.sleep(LAG_KNOWN_SECONDS)
            listed = arena.json("partitions", "list")["partitions"]
            shown = lags_by_place(url)
            arena.start("worker")
            fault.back()
        lags = {item["partition"]: item["lag"] for item in listed}
        hot_lag = lags.pop(f"{arena.topic}[{HOT_PARTITION}]")
        arena.remarks.append(f"lag {hot_lag}, of the others at most {max(lags.values())}")
        figures = arena.finish()
        largest = arena.witness.value("SELECT max(n) FROM (SELECT count(*) AS n FROM events GROUP BY service, model) s")
    assert {project for project, _, _ in shown} == {"default"}
    assert shown["default", arena.topic, str(HOT_PARTITION)] >= HOT_EVENTS > 2 * sorted(shown.values())[-2]
    assert largest >= HOT_EVENTS
    assert hot_lag >= HOT_EVENTS > 2 * max(lags.values())
    # The others commit while the hot one catches up.
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS * arena.slowness


def lags_by_place(url: str) -> dict[tuple[str, str, str], float]:
    """Return the lag by project, topic and partition, as the web process at `url` shows it."""
    with urlopen(f"{url}/metrics", timeout=10) as page:
        families = {family.name: family for family in text_string_to_metric_families(page.read().decode())}
    return {
        (sample.labels["project"], sample.labels["topic"], sample.labels["partition"]): sample.value
        for sample in families["sentinel_partition_lag_records"].samples
    }


def of_one_series(value: bytes) -> bytes:
    """Return the event as one of the hot service and model."""
    value = re.sub(rb'"service_name":"[^"]*"', b'"service_name":"hot"', value, count=1)
    return re.sub(rb'"model":"[^"]*"', b'"model":"gpt-4o"', value, count=1)
