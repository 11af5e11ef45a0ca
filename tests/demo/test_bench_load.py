"""The benchmark's events are what it says: so many, so large, of many series, valid."""

from __future__ import annotations

from ingestion.limits import DEFAULT_LIMITS
from ingestion.validate import Accepted, decode_event
from sentinel.demo.bench_load import PART_EVENTS, bench_events, bench_sources

NOW_US = 1_800_000_000_000_000


def test_the_events_are_as_many_as_asked_for_and_all_different() -> None:
    events = list(bench_events(PART_EVENTS + 10_000, seed=1, end_us=NOW_US))
    assert len(events) == PART_EVENTS + 10_000
    assert len({event.event_id for event in events}) == len(events)


def test_an_event_has_1300_bytes_on_average() -> None:
    sizes = [len(event.value) for event in bench_events(5_000, seed=1, end_us=NOW_US)]
    assert 1_200 < sum(sizes) / len(sizes) < 1_400


def test_every_event_is_valid_and_recent() -> None:
    for event in bench_events(500, seed=1, end_us=NOW_US):
        verdict = decode_event(event.value, log_time_us=NOW_US, default_event_id=None, limits=DEFAULT_LIMITS)
        assert isinstance(verdict, Accepted)
        assert verdict.event_id == event.event_id
        assert NOW_US - 3_600_000_000 < verdict.timestamp_us == event.timestamp_us <= NOW_US


def test_there_are_forty_series() -> None:
    assert len({source.key for source in bench_sources()}) == 40
