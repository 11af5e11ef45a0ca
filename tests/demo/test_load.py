"""The demo's load has history first, then every kind of fault, and stops when asked."""

from __future__ import annotations

import time

from sentinel.demo.faults import KINDS
from sentinel.demo.load import HISTORY_SECONDS, Load, live, once
from sentinel.demo.match import Matcher, Sighting
from sentinel.demo.sink import SinkError

NOW_US = 1_800_000_000_000_000


class CountingSink:
    def __init__(self, fails_at: int | None = None) -> None:
        self.count = 0
        self.fails_at = fails_at

    def send(self, key: bytes, value: bytes) -> None:
        if self.count == self.fails_at:
            raise SinkError("gone")
        self.count += 1

    def flush(self) -> None: ...

    def close(self) -> None: ...


def finished(load: Load) -> Load:
    load.start()
    deadline = time.monotonic() + 60
    while not load.is_finished and time.monotonic() < deadline:
        time.sleep(0.01)
    return load


def test_once_is_half_an_hour_without_faults_and_then_every_kind() -> None:
    (segment,) = once(seed=1, per_second=4, speed=None, now_us=NOW_US)
    faults = segment.stream.faults()
    assert {fault.kind for fault in faults} == set(KINDS)
    assert min(fault.start_us for fault in faults) >= segment.stream.start_us + HISTORY_SECONDS * 1_000_000
    assert max(fault.end_us for fault in faults) <= NOW_US


def test_everything_is_sent_and_its_faults_are_known_to_the_matcher() -> None:
    matcher, sink = Matcher(), CountingSink()
    load = finished(Load(once(seed=1, per_second=4, speed=None, now_us=NOW_US), sink, matcher))
    assert load.failure is None
    assert load.sent == sink.count == len(load.streams[0])
    fault = load.streams[0].faults()[0]
    event_id = next(iter(fault.event_ids))
    metric = next(iter(fault.metrics))
    assert matcher.fault_of(Sighting(fault.service, fault.model, metric, 0, event_id)) == fault


def test_live_traffic_goes_on_after_history_with_other_faults_in_each_part() -> None:
    segments = live(seed=1, per_second=2, speed=None, now_us=NOW_US)
    history, first, second = next(segments), next(segments), next(segments)
    assert history.stream.faults() == []
    assert history.pace is None
    assert first.stream.start_us == NOW_US
    assert second.stream.start_us == NOW_US + 300_000_000
    ids = [fault.id for part in (first, second) for fault in part.stream.workload.faults]
    assert len(ids) == len(set(ids)) >= 2 * len(KINDS)
    assert set(first.stream.ids).isdisjoint(second.stream.ids)


def test_a_hurried_live_demo_packs_its_faults_closer() -> None:
    segments = live(seed=1, per_second=2, speed=2.0, now_us=NOW_US)
    next(segments)
    part = next(segments).stream
    assert max(fault.end_us for fault in part.faults()) <= NOW_US + 150_000_000


def test_live_traffic_stops_when_asked() -> None:
    sink = CountingSink()
    load = Load(live(seed=1, per_second=2, speed=None, now_us=time.time_ns() // 1_000), sink, Matcher())
    load.start()
    time.sleep(0.5)
    load.stop()
    assert load.is_finished


def test_a_failing_sink_is_remembered() -> None:
    load = finished(Load(once(seed=1, per_second=4, speed=None, now_us=NOW_US), CountingSink(5), Matcher()))
    assert str(load.failure) == "gone"
