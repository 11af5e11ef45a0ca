"""A webhook receiver on this machine: checks every signature and remembers what arrived."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from alerting import signature
from sentinel.demo.columns import timestamp_us

HOST = "127.0.0.1"
# The address as SENTINEL_WEBHOOK_ALLOWED_NETWORKS takes it.
NETWORK = "127.0.0.1/32"
PATH = "/alerts"
MAX_BODY_BYTES = 1_000_000
WINDOW_SECONDS = 300
SOCKET_TIMEOUT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Delivery:
    """One alert as it arrived; `window` numbers the 5-minute windows of the anomaly's time since 1970."""

    webhook_id: str
    received_at: float
    project: str
    service: str
    model: str
    anomaly_type: str
    severity: str
    anomaly_id: str
    window: int
    explanation: str

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """What at most one alert may carry."""
        return self.project, self.service, self.model, self.anomaly_type, self.window


class Receiver:
    """Listens on a free loopback port as long as the `with` block runs; safe to read from other threads."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._lock = threading.Lock()
        self._deliveries: list[Delivery] = []
        self._refused: Counter[str] = Counter()
        self._unseen: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        self._server = ThreadingHTTPServer((HOST, 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._server.server_port}{PATH}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, headers: Mapping[str, str], body: bytes, *, now: float) -> int:
        """Judge one request and remember it; return the HTTP status to answer with."""
        try:
            webhook_id = signature.verify(headers, body, secret=self._secret, now_seconds=now)
            given = {name.lower(): value for name, value in headers.items()}
            hex_digest = given.get(signature.HEADER_SENTINEL_SIGNATURE.lower(), "")
            if not signature.verify_body(hex_digest, body, secret=self._secret):
                raise signature.SignatureError("X-Sentinel-Signature does not match")
        except signature.SignatureError as error:
            self._refuse(str(error))
            return 401
        try:
            delivery = _read(webhook_id, json.loads(body), now)
        except (ValueError, KeyError, TypeError):
            self._refuse("the body is no alert")
            return 400
        with self._lock:
            is_repeat = any(known.webhook_id == webhook_id for known in self._deliveries)
            self._deliveries.append(delivery)
        if not is_repeat:
            self._unseen.put(delivery)
        return 204

    def _refuse(self, why: str) -> None:
        with self._lock:
            self._refused[why] += 1

    def new_alerts(self) -> list[Delivery]:
        """Return the alerts that arrived since the last call; repeats of one are left out."""
        found = []
        while not self._unseen.empty():
            found.append(self._unseen.get())
        return found

    @property
    def alerts(self) -> Sequence[Delivery]:
        """Every alert once, in the order of arrival: a repeated delivery carries the same id."""
        with self._lock:
            return list({delivery.webhook_id: delivery for delivery in self._deliveries}.values())

    @property
    def refused(self) -> Mapping[str, int]:
        """How many requests were not trusted, by reason."""
        with self._lock:
            return dict(self._refused)

    @property
    def doubles(self) -> Sequence[tuple[str, str, str, str, int]]:
        """Windows that got more than one alert; must be empty."""
        counts = Counter(alert.key for alert in self.alerts)
        return [key for key, count in counts.items() if count > 1]


def _read(webhook_id: str, body: dict[str, Any], now: float) -> Delivery:
    anomaly = body["anomaly"]
    return Delivery(
        webhook_id=webhook_id,
        received_at=now,
        project=str(body["project"]),
        service=str(anomaly["service"]),
        model=str(anomaly["model"]),
        anomaly_type=str(anomaly["anomaly_type"]),
        severity=str(anomaly["severity"]),
        anomaly_id=str(anomaly["id"]),
        window=timestamp_us(str(anomaly["timestamp"])) // (WINDOW_SECONDS * 1_000_000),
        explanation=str(body.get("explanation", "")),
    )


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = SOCKET_TIMEOUT_SECONDS

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if self.path != PATH or not 0 < length <= MAX_BODY_BYTES:
                self.send_error(404 if self.path != PATH else 413)
                return
            status = receiver.take(dict(self.headers), self.rfile.read(length), now=time.time())
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
            """Keep the terminal for the demo."""

    return Handler
