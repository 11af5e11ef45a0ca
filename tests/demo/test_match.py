"""An anomaly matches the fault that caused it and no other."""

from __future__ import annotations

import uuid
from dataclasses import replace

from sentinel.demo.generator import InjectedFault
from sentinel.demo.match import Matcher, Sighting

HIT, OTHER = uuid.uuid4(), uuid.uuid4()
FAULT = InjectedFault(
    id="fault-000",
    kind="latency_shift",
    service="chat-api",
    model="gpt-4o",
    start_us=1_000_000,
    end_us=61_000_000,
    magnitude=4.0,
    metrics=frozenset({"latency_ms"}),
    event_ids=frozenset({HIT}),
)
SEEN = Sighting("chat-api", "gpt-4o", "latency_ms", 5_000_000, HIT)
WINDOW = replace(SEEN, event_id=None)


def test_the_event_that_a_fault_changed_matches_on_its_metric() -> None:
    assert Matcher([FAULT]).fault_of(SEEN) == FAULT


def test_another_event_of_the_window_does_not_match() -> None:
    assert Matcher([FAULT]).fault_of(replace(SEEN, event_id=OTHER)) is None


def test_a_metric_that_the_fault_does_not_touch_does_not_match() -> None:
    assert Matcher([FAULT]).fault_of(replace(SEEN, metric="cost_usd")) is None


def test_a_window_verdict_matches_by_series_and_time() -> None:
    matcher = Matcher([FAULT])
    assert matcher.fault_of(WINDOW) == FAULT
    assert matcher.fault_of(replace(WINDOW, timestamp_us=100_000_000)) == FAULT
    assert matcher.fault_of(replace(WINDOW, timestamp_us=999_000)) is None
    assert matcher.fault_of(replace(WINDOW, timestamp_us=200_000_000)) is None
    assert matcher.fault_of(replace(WINDOW, model="other")) is None


def test_faults_can_be_added_later() -> None:
    matcher = Matcher()
    assert matcher.fault_of(SEEN) is None
    matcher.add([FAULT])
    assert matcher.fault_of(SEEN) == FAULT
