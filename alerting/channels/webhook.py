"""HTTP POST of the alert's JSON, signed as `alerting.signature` describes."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache

from django.conf import settings

from alerting import signature
from alerting.address import Network, parse_networks
from alerting.channels.base import Alert, Channel, ChannelError, Problem, Receipt, Target
from alerting.channels.connection import Deadline, ForbiddenAddress, PinnedConnection, Resolver, look_up, resolve
from alerting.channels.url import Endpoint, parse_url
from alerting.reasons import FailureReason
from alerting.retry import judge_status, parse_retry_after

TIMEOUT_SECONDS = 10.0
# Nothing of the answer's body is used; a little is read so that a well-behaved receiver sees no reset.
MAX_RESPONSE_BYTES = 4096

# error: (reason, permanent); the first class that fits counts.
_ERRORS: Sequence[tuple[type[Exception], FailureReason, bool]] = (
    (ForbiddenAddress, FailureReason.FORBIDDEN_ADDRESS, True),
    (TimeoutError, FailureReason.TIMEOUT, False),
    (socket.gaierror, FailureReason.DNS, False),
    (ssl.SSLError, FailureReason.TLS, False),
    (ConnectionRefusedError, FailureReason.CONNECTION_REFUSED, False),
    (http.client.RemoteDisconnected, FailureReason.CONNECTION_FAILED, False),
    (http.client.HTTPException, FailureReason.BAD_RESPONSE, False),
    (OSError, FailureReason.CONNECTION_FAILED, False),
)


class WebhookChannel(Channel):
    """Posts to the rule's URL; any 2xx is an acknowledgement, redirects are not followed, 410 disables the rule."""

    name = "webhook"

    def __init__(
        self,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        resolver: Resolver = look_up,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._resolver = resolver
        self._tls = tls

    def send(self, alert: Alert, target: Target, *, now: datetime) -> Receipt:
        endpoint, headers = _prepare(alert, target, now=now)
        with _named_errors():
            status, retry_after = self._post(endpoint, headers, alert.body)
        failure = judge_status(status)
        if failure is None:
            return Receipt(status_code=status)
        reason, retryable = failure
        raise ChannelError(
            reason,
            permanent=not retryable,
            status_code=status,
            retry_after_seconds=parse_retry_after(retry_after, now=now),
            disables_rule=reason is FailureReason.GONE,
        )

    def problems(self, target: Target) -> Sequence[Problem]:
        try:
            endpoint = parse_url(target.url)
        except ValueError as error:
            return [Problem(field="webhook_url", message=str(error))]
        try:
            self._resolve(endpoint)
        except ForbiddenAddress:
            return [Problem(field="webhook_url", message=_FORBIDDEN)]
        except (OSError, UnicodeError):
            return [Problem(field="webhook_url", message="The host name cannot be resolved.")]
        return []

    def _resolve(self, endpoint: Endpoint) -> list[str]:
        allowed: Sequence[Network] = parse_networks(settings.SENTINEL_WEBHOOK_ALLOWED_NETWORKS)
        return resolve(endpoint.host, endpoint.port, allowed_networks=allowed, resolver=self._resolver)

    def _post(self, endpoint: Endpoint, headers: dict[str, str], body: bytes) -> tuple[int, str | None]:
        """Return status and `Retry-After` of the answer."""
        deadline = Deadline(self._timeout_seconds)
        connection = PinnedConnection(
            endpoint.host,
            endpoint.port,
            addresses=self._resolve(endpoint),
            deadline=deadline,
            tls=(self._tls or _default_tls()) if endpoint.secure else None,
        )
        with connection:
            connection.request("POST", endpoint.path, body, headers)
            response = connection.getresponse()
            status, retry_after = response.status, response.getheader("Retry-After")
            _drain(response)
        return status, retry_after


@cache
def _default_tls() -> ssl.SSLContext:
    """Return the context with the system's authorities; loading them takes long enough to do it once, when needed."""
    return ssl.create_default_context()


_FORBIDDEN = (
    "The host resolves to addresses that webhooks may not reach (private, loopback, link-local, multicast or "
    "translated ones); an operator can permit a network with SENTINEL_WEBHOOK_ALLOWED_NETWORKS."
)


def _prepare(alert: Alert, target: Target, *, now: datetime) -> tuple[Endpoint, dict[str, str]]:
    try:
        endpoint = parse_url(target.url)
        signatures = signature.sign(
            webhook_id=str(alert.id),
            timestamp_seconds=int(now.timestamp()),
            body=alert.body,
            secrets=target.secrets,
        )
    except (ValueError, IndexError):
        # The original names parts of URL or secret in its traceback.
        raise ChannelError(FailureReason.INVALID_TARGET, permanent=True) from None
    headers = {"Content-Type": "application/json", "User-Agent": "LLM-Sentinel/1", "Connection": "close"}
    return endpoint, headers | signatures


@contextmanager
def _named_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        reason, permanent = next((r, p) for kind, r, p in _ERRORS if isinstance(error, kind))
        # Messages of http.client and ssl quote what the other side sent, and names.
        raise ChannelError(reason, permanent=permanent) from None
    except ValueError:
        # A host name that cannot be encoded, or that TLS cannot name. A certificate's error is an OSError, and above.
        raise ChannelError(FailureReason.INVALID_TARGET, permanent=True) from None


def _drain(response: http.client.HTTPResponse) -> None:
    """Read a little of the body; the status has been received, so that nothing that happens here changes the outcome."""
    try:
        response.read(MAX_RESPONSE_BYTES)
    except (OSError, http.client.HTTPException):
        return
