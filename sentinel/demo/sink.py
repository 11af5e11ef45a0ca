"""Where generated and recorded events go: straight into Kafka, or to the HTTP API of an installation without it."""

from __future__ import annotations

import json
import logging
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from kafka import KafkaProducer
from kafka.errors import KafkaError

# On a busy machine the client warns of every pause of its own event loop; nothing is wrong with the events.
logging.getLogger("kafka.net.selector").setLevel(logging.ERROR)

MAX_BODY_BYTES = 4_000_000
MAX_BODY_EVENTS = 2_000


class SinkError(Exception):
    """Events could not be handed over; what was sent before may be stored, so repeat with the same ids."""


class Sink(Protocol):
    """Takes events in order. `send` may buffer and block; after `flush` everything sent is durable."""

    def send(self, key: bytes, value: bytes) -> None:
        """Hand over one event; raise `SinkError` if an earlier one failed."""

    def flush(self) -> None:
        """Return once all events sent are durable; raise `SinkError` if one is not."""

    def close(self) -> None: ...


class KafkaSink:
    """An idempotent producer: acks from all replicas, lz4, keyed by series so that a series keeps its order."""

    def __init__(
        self, brokers: Sequence[str], topic: str, *, security: Mapping[str, Any], timeout_seconds: float = 30
    ) -> None:
        self._topic = topic
        self._timeout_seconds = timeout_seconds
        self._failure: BaseException | None = None
        try:
            self._producer: Any = KafkaProducer(
                bootstrap_servers=list(brokers),
                client_id="sentinel-cli",
                acks="all",
                enable_idempotence=True,
                compression_type="lz4",
                linger_ms=20,
                batch_size=256 * 1024,
                max_request_size=2 * 1024 * 1024,
                max_block_ms=int(timeout_seconds * 1000),
                metrics_enabled=False,
                **{name: value for name, value in security.items() if value is not None},
            )
        except KafkaError as error:
            raise SinkError(f"Kafka at {', '.join(brokers)} cannot be reached: {error}") from error

    def send(self, key: bytes, value: bytes) -> None:
        self._raise_failure()
        try:
            self._producer.send(self._topic, key=key, value=value).add_errback(self._remember)
        except (KafkaError, ValueError) as error:  # ValueError: no legal topic name
            raise SinkError(f"Kafka did not take an event: {error}") from error

    def flush(self) -> None:
        try:
            self._producer.flush(timeout=self._timeout_seconds)
        except KafkaError as error:
            raise SinkError(f"Kafka did not confirm the events: {error}") from error
        self._raise_failure()

    def close(self) -> None:
        self._producer.close(timeout=5)

    def _remember(self, error: BaseException) -> None:
        self._failure = error

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise SinkError(f"Kafka did not confirm an event: {self._failure}") from self._failure


class HttpSink:
    """Posts batches to `POST /api/v1/events`; 202 means durable."""

    def __init__(self, web_url: str, *, api_key: str = "", timeout_seconds: float = 30) -> None:
        if not web_url.startswith(("http://", "https://")):
            raise SinkError(f"{web_url!r} is no http:// or https:// address")
        self._url = web_url.rstrip("/") + "/api/v1/events"
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._timeout_seconds = timeout_seconds
        self._pending: list[bytes] = []
        self._size = 0

    def send(self, key: bytes, value: bytes) -> None:
        del key  # The server makes it from service and model.
        self._pending.append(value)
        self._size += len(value)
        if self._size >= MAX_BODY_BYTES or len(self._pending) >= MAX_BODY_EVENTS:
            self.flush()

    def flush(self) -> None:
        if not self._pending:
            return
        body = b"[" + b",".join(self._pending) + b"]"
        request = urllib.request.Request(self._url, data=body, headers=self._headers, method="POST")  # noqa: S310  # checked above
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_seconds) as response:  # noqa: S310
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            raise SinkError(f"{self._url} answered {error.code}: {_problem(error.read())}") from error
        except (OSError, ValueError) as error:
            raise SinkError(f"{self._url} cannot be reached: {error}") from error
        count = len(self._pending)
        self._pending, self._size = [], 0
        accepted = answer.get("accepted", count)
        if accepted != count:
            raise SinkError(f"{self._url} rejected {count - accepted} of {count} events")

    def close(self) -> None:
        self._pending = []


def _problem(body: bytes) -> str:
    """Return the message of the API's error envelope, or nothing."""
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return "no reason given"


def open_sink(topic: str) -> Sink:
    """Return the sink of this installation: Kafka where brokers are configured, else its HTTP API.

    Raises `SinkError` where neither is known or Kafka cannot be reached.
    """
    from django.conf import settings

    from sentinel import environment

    if settings.SENTINEL_BROKERS:
        return KafkaSink(settings.SENTINEL_BROKERS, topic, security=settings.SENTINEL_KAFKA_SECURITY)
    web_url = environment.text("SENTINEL_WEB_URL")
    if not web_url:
        raise SinkError("nowhere to send: start `sentinel up`, or set SENTINEL_BROKERS or SENTINEL_WEB_URL")
    if topic != settings.SENTINEL_TOPIC:
        raise SinkError("--topic needs Kafka: over HTTP the API key decides the topic")
    return HttpSink(web_url, api_key=environment.text("SENTINEL_API_KEY"))
