"""Events reach Kafka or the HTTP API, and a failure is never silent."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from django.conf import settings

from ingestion.log.configured import create_topics, open_log
from sentinel.demo.sink import MAX_BODY_EVENTS, HttpSink, KafkaSink, SinkError, open_sink
from tests.services import KafkaBroker


@contextmanager
def http_server(status: int, answer: dict[str, Any]) -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    """Answer every POST alike; give the URL and the requests: path, headers, body."""
    requests: list[tuple[str, dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            requests.append((self.path, dict(self.headers), body))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *args: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_http_events_go_out_as_one_array() -> None:
    with http_server(202, {"accepted": 2}) as (url, requests):
        sink = HttpSink(url, api_key="secret")
        sink.send(b"k", b'{"a":1}')
        sink.send(b"k", b'{"a":2}')
        sink.flush()
    ((path, headers, body),) = requests
    assert path == "/api/v1/events"
    assert headers["Authorization"] == "Bearer secret"
    assert json.loads(body) == [{"a": 1}, {"a": 2}]


def test_a_full_batch_is_posted_without_a_flush() -> None:
    with http_server(202, {}) as (url, requests):
        sink = HttpSink(url)
        for _ in range(MAX_BODY_EVENTS + 1):
            sink.send(b"k", b"{}")
        assert len(requests) == 1
        sink.flush()
        sink.flush()
        assert len(requests) == 2


def test_an_http_error_names_the_reason_of_the_server() -> None:
    envelope = {"error": {"code": "log_unavailable", "message": "The log is down.", "fields": []}}
    with http_server(503, envelope) as (url, _):
        sink = HttpSink(url)
        sink.send(b"k", b"{}")
        with pytest.raises(SinkError, match="answered 503: The log is down"):
            sink.flush()


def test_rejected_events_are_an_error() -> None:
    with http_server(202, {"accepted": 1}) as (url, _):
        sink = HttpSink(url)
        sink.send(b"k", b"{}")
        sink.send(b"k", b"{}")
        with pytest.raises(SinkError, match="rejected 1 of 2"):
            sink.flush()


def test_a_server_that_is_not_there_is_an_error() -> None:
    sink = HttpSink("http://127.0.0.1:9", timeout_seconds=2)
    sink.send(b"k", b"{}")
    with pytest.raises(SinkError, match="cannot be reached"):
        sink.flush()


def test_only_http_addresses_are_taken() -> None:
    with pytest.raises(SinkError, match="no http"):
        HttpSink("file:///etc/passwd")


@pytest.mark.slow
def test_events_reach_the_partition_of_their_series_in_order(kafka: KafkaBroker) -> None:
    topic = f"test.{uuid.uuid4().hex[:8]}"
    create_topics([topic])
    sink = open_sink(topic)
    assert isinstance(sink, KafkaSink)
    for number in range(20):
        sink.send(b"service\0model", b"%d" % number)
    sink.flush()
    sink.close()
    log = open_log()
    try:
        ends = log.end_offsets([(topic, item.partition) for item in log.partitions([topic])])
        ((used, end),) = [(key, end) for key, end in ends.items() if end]
        chunk = log.read(*used, 0, end, max_bytes=1_000_000)
    finally:
        log.close()
    assert [record.value for record in chunk.records] == [b"%d" % number for number in range(20)]
    assert {record.key for record in chunk.records} == {b"service\0model"}


@pytest.mark.slow
def test_an_event_that_kafka_refuses_is_an_error(kafka: KafkaBroker) -> None:
    sink = KafkaSink(settings.SENTINEL_BROKERS, "bad topic name", security={}, timeout_seconds=5)
    with pytest.raises(SinkError), closing(sink):
        sink.send(b"k", b"v")
