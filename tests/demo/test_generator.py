"""Streams repeat with their seed, are valid events of the wire, and carry true labels."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from sentinel.demo.calls import NO_FAULT
from sentinel.demo.catalogue import SOURCES
from sentinel.demo.faults import KINDS, plan
from sentinel.demo.generator import Stream, Workload, generate

START_US = 1_760_000_000_000_000
FAULTS = tuple(plan(SOURCES, start_seconds=300, end_seconds=900, gap_seconds=10))
FAULTY = Workload(seed=3, seconds=900, per_second=10, faults=FAULTS)
CLEAN = replace(FAULTY, faults=())


@pytest.fixture(scope="module")
def faulty() -> Stream:
    return generate(FAULTY, start_us=START_US)


@pytest.fixture(scope="module")
def clean() -> Stream:
    return generate(CLEAN, start_us=START_US)


def test_the_same_seed_gives_the_same_bytes() -> None:
    small = Workload(seed=9, seconds=60, per_second=5)
    first = list(generate(small, start_us=START_US).events())
    again = list(generate(small, start_us=START_US).events())
    assert first == again
    assert first


def test_ids_do_not_depend_on_the_start() -> None:
    small = Workload(seed=9, seconds=60, per_second=5)
    assert generate(small, start_us=START_US).ids == generate(small, start_us=0).ids


def test_another_seed_or_part_gives_other_ids() -> None:
    small = Workload(seed=9, seconds=60, per_second=5)
    ids = set(generate(small, start_us=0).ids)
    assert ids.isdisjoint(generate(replace(small, seed=10), start_us=0).ids)
    assert ids.isdisjoint(generate(replace(small, part=1), start_us=0).ids)


def test_ids_are_unique_version_4_uuids(faulty: Stream) -> None:
    assert len(set(faulty.ids)) == len(faulty)
    assert {event_id.version for event_id in faulty.ids} == {4}


def test_events_come_in_order_of_time_with_their_series_as_key(faulty: Stream) -> None:
    events = list(faulty.events())
    assert [e.timestamp_us for e in events] == sorted(e.timestamp_us for e in events)
    keys = {source.key for source in SOURCES}
    assert {event.key for event in events} == keys
    for event in events[:50]:
        body = msgspec.json.decode(event.value)
        assert f"{body['service_name']}\0{body['model']}".encode() == event.key
        assert body["event_id"] == str(event.event_id)


def test_every_kind_of_fault_is_planned_and_labelled(faulty: Stream) -> None:
    assert {fault.kind for fault in faulty.faults()} == set(KINDS)


def test_labels_name_the_affected_calls_of_the_series_and_window(
    faulty: Stream,
) -> None:
    bodies = {event.event_id: event for event in faulty.events()}
    for fault in faulty.faults():
        assert fault.event_ids
        for event_id in fault.event_ids:
            event = bodies[event_id]
            assert fault.start_us <= event.timestamp_us < fault.end_us
            assert event.key == f"{fault.service}\0{fault.model}".encode()


def test_no_call_carries_the_label_of_two_faults(faulty: Stream) -> None:
    labelled = [event_id for fault in faulty.faults() for event_id in fault.event_ids]
    assert len(labelled) == len(set(labelled))
    assert len(labelled) == int((faulty.calls.fault != NO_FAULT).sum())


def test_a_stream_without_faults_has_no_labels(clean: Stream) -> None:
    assert clean.faults() == []
    assert (clean.calls.fault == NO_FAULT).all()


def test_each_fault_changes_what_its_kind_says(faulty: Stream, clean: Stream) -> None:
    def ratio(column: str, kind: str) -> float:
        values = getattr(faulty.calls, column)
        index = next(i for i, fault in enumerate(FAULTS) if fault.kind == kind)
        hit = faulty.calls.fault == index
        normal = getattr(clean.calls, column)[clean.calls.source == FAULTS[index].source]
        return float(np.median(values[hit]) / np.median(normal))

    assert ratio("latency_ms", "latency_spike") > 6
    assert ratio("latency_ms", "latency_shift") > 3
    assert ratio("latency_ms", "drift") > 2
    assert ratio("completion_tokens", "token_blowup") > 8
    assert ratio("cost_usd", "cost_anomaly") > 6


def test_an_error_burst_fails_calls_with_an_error_and_no_completion(
    faulty: Stream,
) -> None:
    burst = next(f for f in faulty.faults() if f.kind == "error_burst")
    for event in faulty.events():
        if event.event_id in burst.event_ids:
            body = msgspec.json.decode(event.value)
            assert body["errors"]
            assert body["response"]["tokens"] == 0
            assert body["cost_usd"] == 0


def test_a_throughput_drop_removes_calls(faulty: Stream, clean: Stream) -> None:
    drop = next(f for f in faulty.faults() if f.kind == "throughput_drop")
    source = next(f.source for f in FAULTS if f.id == drop.id)

    def count(stream: Stream) -> int:
        at = stream.calls.seconds * 1e6 + START_US
        inside = (at >= drop.start_us) & (at < drop.end_us)
        return int((inside & (stream.calls.source == source)).sum())

    assert count(faulty) < count(clean) / 2


def test_some_prompts_hold_personal_data_and_most_do_not(clean: Stream) -> None:
    prompts = [msgspec.json.decode(e.value)["prompt"]["text"] for e in clean.events()]
    planted = sum("@" in text or "card" in text for text in prompts)
    assert 0.005 < planted / len(prompts) < 0.05


def test_texts_are_as_long_as_their_tokens_up_to_the_limit(clean: Stream) -> None:
    for event in clean.events():
        body = msgspec.json.decode(event.value)
        response = body["response"]
        expected = min(response["tokens"] * 4.2, CLEAN.max_text_characters)
        assert abs(len(response["text"]) - expected) <= 5


def test_the_repr_of_an_event_shows_no_text(clean: Stream) -> None:
    event = next(iter(clean.events()))
    assert "Please" not in repr(event)
