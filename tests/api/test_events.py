from __future__ import annotations

import gzip
import hashlib
import json
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import zstandard
from django.test import Client, RequestFactory
from pytest_django import Settings

from api.models import Scope, create_key
from api.views.events import EventsView
from ingestion.headers import read_stamp
from ingestion.log.base import LogUnavailable, NewRecord
from ingestion.log.postgres import PostgresLog
from ingestion.models import Project
from ingestion.scrubbed_header import read_scrubbed

URL = "/api/v1/events"
JSON = "application/json"


def an_event(**values: Any) -> dict[str, Any]:
    return {
        "event_id": str(uuid.uuid4()),
        "timestamp": datetime.now(UTC).isoformat(),
        "service_name": "chat-api",
        "model": "gpt-4",
        "prompt": {"text": "What is the capital of France?", "tokens": 10},
        "response": {"text": "Paris.", "tokens": 20, "finish_reason": "stop"},
        "latency_ms": 150.5,
        "cost_usd": 0.001,
        "metadata": {},
        "errors": [],
    } | values


class FakeLog:
    """Takes what is appended, or fails as a log that is down."""

    def __init__(self) -> None:
        self.is_down = False
        self.appended: list[tuple[str, NewRecord]] = []

    def append(self, topic: str, records: Sequence[NewRecord], *, timeout_seconds: float) -> None:
        if self.is_down:
            raise LogUnavailable("down")
        self.appended += [(topic, record) for record in records]

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(record.value) for _, record in self.appended]


@pytest.fixture
def log() -> FakeLog:
    return FakeLog()


class Sender:
    """Posts bodies to the view, with a log of the test."""

    def __init__(self, project: Project, log: FakeLog) -> None:
        _, token = create_key(project, name="test", scopes=[Scope.INGEST])
        self._token = token
        self._view = EventsView.as_view(append=log.append)

    def post(self, body: Any, content_type: str = JSON, **headers: str) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self._token}", **headers}
        response = self._view(RequestFactory().post(URL, data, content_type=content_type, headers=headers))
        response.render()
        return response


@pytest.fixture
def http(project: Project, log: FakeLog) -> Sender:
    return Sender(project, log)


def test_one_event_is_accepted(http: Sender, log: FakeLog) -> None:
    event = an_event()
    response = http.post(event)
    assert response.status_code == 202
    assert response.data == {
        "accepted": 1,
        "rejected": 0,
        "results": [{"index": 0, "status": "accepted", "event_id": event["event_id"]}],
    }
    (sent,) = log.events()
    assert sent["event_id"] == event["event_id"]
    assert sent["prompt"] == event["prompt"]


def test_records_go_to_the_projects_topic_with_the_series_as_their_key(http: Sender, log: FakeLog) -> None:
    http.post(an_event())
    ((topic, record),) = log.appended
    assert (topic, record.key) == ("llm.telemetry", b"chat-api\x00gpt-4")


@pytest.mark.parametrize("shape", ["array", "envelope", "lines"])
def test_a_batch_may_be_an_array_an_envelope_or_lines(http: Sender, log: FakeLog, shape: str) -> None:
    events = [an_event(), an_event()]
    bodies: dict[str, tuple[Any, str]] = {
        "array": (events, JSON),
        "envelope": ({"events": events}, "application/json; charset=utf-8"),
        "lines": (b"\n".join(json.dumps(event).encode() for event in events) + b"\n", "application/x-ndjson"),
    }
    response = http.post(*bodies[shape])
    assert (response.status_code, response.data["accepted"]) == (202, 2)
    assert [sent["event_id"] for sent in log.events()] == [event["event_id"] for event in events]


def test_every_event_of_a_batch_is_judged_alone(http: Sender, log: FakeLog) -> None:
    good, bad = an_event(), an_event()
    del bad["latency_ms"]
    response = http.post([bad, good])
    assert response.status_code == 202
    assert (response.data["accepted"], response.data["rejected"]) == (1, 1)
    assert response.data["results"][0] == {
        "index": 0,
        "status": "rejected",
        "reason": "missing_field",
        "field": "latency_ms",
        "message": "latency_ms is required",
    }
    assert response.data["results"][1]["event_id"] == good["event_id"]
    assert len(log.appended) == 1


def test_where_none_is_accepted_the_answer_is_an_error_that_names_the_fields(http: Sender, log: FakeLog) -> None:
    response = http.post([an_event(latency_ms=-1), an_event(model="")])
    assert response.status_code == 422
    error = response.data["error"]
    assert (error["code"], error["message"]) == ("no_event_accepted", "None of the 2 events was accepted.")
    assert [field["field"] for field in error["fields"]] == ["events[0].latency_ms", "events[1].model"]
    assert (response.data["accepted"], response.data["rejected"]) == (0, 2)
    assert not log.appended


def test_a_single_rejected_event_is_named_without_a_position(http: Sender) -> None:
    response = http.post(an_event(prompt={"text": "x", "tokens": -1}))
    assert response.status_code == 422
    (field,) = response.data["error"]["fields"]
    assert field["field"] == "prompt.tokens"
    assert response.data["error"]["message"] == field["reason"]


def test_a_timestamp_is_required(http: Sender) -> None:
    event = an_event()
    del event["timestamp"]
    response = http.post(event)
    assert response.data["error"]["fields"] == [{"field": "timestamp", "reason": "timestamp is required"}]


def test_an_event_too_old_to_count_is_accepted_and_says_so(http: Sender) -> None:
    old = (datetime.now(UTC) - timedelta(days=400)).isoformat()
    response = http.post(an_event(timestamp=old))
    assert response.status_code == 202
    assert response.data["results"][0]["late"] == "too_old"


class TestIds:
    def test_without_an_id_one_is_made_and_returned(self, http: Sender, log: FakeLog) -> None:
        event = an_event()
        del event["event_id"]
        response = http.post(event)
        assert response.data["results"][0]["event_id"] == log.events()[0]["event_id"]

    def test_an_idempotency_key_gives_the_same_ids_again(self, http: Sender, log: FakeLog) -> None:
        events = [an_event(), an_event()]
        for event in events:
            del event["event_id"]
        for key in ("a", "a", "b"):
            http.post(events, **{"Idempotency-Key": key})
        ids = [sent["event_id"] for sent in log.events()]
        assert ids[:2] == ids[2:4]
        assert len(set(ids)) == 4

    def test_an_idempotency_key_means_another_thing_in_another_project(
        self, http: Sender, log: FakeLog, other_project: Project
    ) -> None:
        event = an_event()
        del event["event_id"]
        other_project.topics.create(name="other", receives_http=True)
        http.post(event, **{"Idempotency-Key": "a"})
        Sender(other_project, log).post(event, **{"Idempotency-Key": "a"})
        assert len({sent["event_id"] for sent in log.events()}) == 2
        assert [topic for topic, _ in log.appended] == ["llm.telemetry", "other"]

    @pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
    def test_an_unusable_key_is_refused(self, http: Sender, key: str) -> None:
        response = http.post(an_event(), **{"Idempotency-Key": key})
        assert response.status_code == 400
        assert response.data["error"]["fields"] == [
            {"field": "Idempotency-Key", "reason": "Use 1 to 255 printable characters."}
        ]


def test_personal_data_is_scrubbed_before_the_log_sees_it(http: Sender, log: FakeLog) -> None:
    http.post(
        an_event(
            prompt={"text": "Write to ada@example.com", "tokens": 5},
            metadata={"password": "hunter2", "note": "call ada@example.com"},
            errors=["mail to ada@example.com failed"],
        )
    )
    text = log.appended[0][1].value.decode()
    assert "ada@example.com" not in text
    assert "hunter2" not in text
    assert "[EMAIL]" in text
    assert read_scrubbed(log.appended[0][1].headers) == {"EMAIL": 3, "SECRET": 1}


@pytest.mark.parametrize(
    ("too_long", "reason"),
    [
        ({"metadata": {str(number): "x@b.co " * 37 for number in range(125)}}, "metadata_too_large"),
        ({"errors": ["x@b.co " * 550] * 250}, "too_large"),
    ],
)
def test_what_placeholders_make_too_long_is_rejected_in_the_answer(
    http: Sender, log: FakeLog, too_long: dict[str, Any], reason: str
) -> None:
    response = http.post([an_event(**too_long), an_event()])
    assert response.status_code == 202
    assert [result.get("reason") for result in response.data["results"]] == [reason, None]
    assert len(log.appended) == 1


def test_what_placeholders_make_too_long_is_refused_where_it_is_alone(http: Sender, log: FakeLog) -> None:
    response = http.post(an_event(metadata={str(number): "x@b.co " * 37 for number in range(125)}))
    assert response.status_code == 422
    assert response.data["error"]["fields"][0]["reason"].endswith("; measured after scrubbing")
    assert not log.appended


def test_a_scrubbed_text_keeps_the_length_of_what_was_sent(http: Sender, log: FakeLog) -> None:
    http.post(an_event(prompt={"text": "Write to ada@example.com"}, response={"text": "Mailed ada@example.com."}))
    (sent,) = log.events()
    assert (sent["prompt"]["original_length"], sent["response"]["original_length"]) == (24, 23)


def test_a_cut_text_keeps_the_length_and_digest_of_what_was_sent(http: Sender, log: FakeLog) -> None:
    text = "ada@example.com wrote " * 1_000
    http.post(an_event(prompt={"text": text}))
    (sent,) = log.events()
    assert sent["prompt"]["original_length"] == len(text)
    assert sent["prompt"]["original_sha256"] == hashlib.sha256(text.encode()).hexdigest()


def test_a_user_gets_the_same_pseudonym_however_often_it_is_scrubbed(http: Sender, log: FakeLog) -> None:
    http.post(an_event(user_id="ada"))
    http.post(an_event(user_id="ada"))
    first, second = (sent["user_id"] for sent in log.events())
    assert first == second
    assert first.startswith("user_")
    http.post(an_event(user_id=first))
    assert log.events()[2]["user_id"] == first


def test_a_producers_stamp_travels_in_the_headers(http: Sender, log: FakeLog) -> None:
    producer = {"id": "sdk-1", "epoch": 7, "sequence": 40, "counters": {"dropped": 3}}
    http.post({"events": [an_event(), an_event(model=""), an_event()], "producer": producer})
    stamps = [read_stamp(record.headers) for _, record in log.appended]
    assert [(stamp.producer_id, stamp.epoch, stamp.sequence) for stamp in stamps if stamp] == [
        ("sdk-1", 7, 40),
        ("sdk-1", 7, 42),
    ]
    assert stamps[0] is not None
    assert stamps[0].counters == {"dropped": 3}


def test_without_the_log_the_answer_says_when_to_try_again(http: Sender, log: FakeLog) -> None:
    log.is_down = True
    response = http.post(an_event())
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert response.data["error"]["code"] == "log_unavailable"


class TestBody:
    @pytest.mark.parametrize("encoding", ["gzip", "zstd"])
    def test_may_be_compressed(self, http: Sender, log: FakeLog, encoding: str) -> None:
        body = json.dumps(an_event()).encode()
        packed = gzip.compress(body) if encoding == "gzip" else zstandard.compress(body)
        assert http.post(packed, **{"Content-Encoding": encoding}).status_code == 202
        assert len(log.appended) == 1

    def test_too_large_is_answered_with_the_limit(self, http: Sender, settings: Settings) -> None:
        settings.SENTINEL_MAX_BODY_BYTES = 2_000
        response = http.post(gzip.compress(b" " * 2_001), **{"Content-Encoding": "gzip"})
        assert response.status_code == 413
        assert "2000 bytes" in response.data["error"]["message"]

    def test_an_event_too_large_is_rejected_alone(self, http: Sender) -> None:
        large = an_event(metadata={"x": "y" * 1_000_001})
        response = http.post([large, an_event()])
        assert response.status_code == 202
        assert response.data["results"][0]["reason"] == "too_large"

    @pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
    def test_another_type_is_refused(self, http: Sender, content_type: str) -> None:
        response = http.post(b"{}", content_type)
        assert response.status_code == 415
        assert response.data["error"]["message"] == (
            "Content-Type must be application/json, or application/x-ndjson for one event per line; "
            f"it is {content_type}."
        )

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            (b"{", "$"),
            (b" ", "$"),
            (b"[]", "events"),
            (b'{"events": []}', "events"),
            (b'{"events": 1}', "events"),
            (b"1", "$"),
        ],
    )
    def test_that_holds_no_event_is_refused(self, http: Sender, body: bytes, field: str) -> None:
        response = http.post(body)
        assert response.status_code == 400
        error = response.data["error"]
        assert (error["code"], error["fields"][0]["field"]) == ("invalid_body", field)

    def test_without_a_line_is_refused(self, http: Sender) -> None:
        response = http.post(b"\n\n", "application/x-ndjson")
        assert response.data["error"]["message"] == "the body has no line with an event"


def test_a_reader_may_not_send(reader: Client) -> None:
    response = reader.post(URL, an_event(), content_type=JSON)
    assert response.status_code == 403
    assert response.json()["error"]["message"] == "This endpoint needs the scope ingest; the key has: read."


@pytest.mark.usefixtures("inbox")
class TestThroughTheInbox:
    @pytest.fixture
    def read(self) -> Callable[[str], list[bytes | None]]:
        def values(topic: str) -> list[bytes | None]:
            log = PostgresLog()
            ends = log.end_offsets([(item.topic, item.partition) for item in log.partitions([topic])])
            chunks = [log.read(topic, partition, 0, end, max_bytes=10**6) for (_, partition), end in ends.items()]
            return [record.value for chunk in chunks for record in chunk.records]

        return values

    def test_what_was_answered_with_202_is_in_the_log(self, sender: Client, read: Any) -> None:
        event = an_event()
        assert sender.post(URL, event, content_type=JSON).status_code == 202
        (value,) = read("llm.telemetry")
        assert json.loads(value)["event_id"] == event["event_id"]

    def test_a_projects_first_event_makes_its_topic(self, stranger: Client, read: Any) -> None:
        assert stranger.post(URL, an_event(), content_type=JSON).status_code == 202
        assert len(read("llm.telemetry.other")) == 1
        assert not read("llm.telemetry")
