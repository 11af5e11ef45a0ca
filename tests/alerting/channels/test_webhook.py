from __future__ import annotations

import contextlib
import gc
import shutil
import socket
import ssl
import subprocess
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from alerting.channels.base import Alert, ChannelError, Receipt, Target
from alerting.channels.webhook import WebhookChannel
from alerting.reasons import FailureReason
from alerting.signature import verify, verify_body
from tests.alerting.receiver import Answer, Receiver

SECRET = "whsec_c2VudGluZWwtdGVzdC1zZWNyZXQtMzItYnl0ZXMh"
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ALERT = Alert(
    id=uuid.UUID(int=7),
    rule_name="rule",
    project="shop",
    service="chat-api",
    model="gpt-4o",
    anomaly_type="latency_spike",
    severity="high",
    explanation="Slow.",
    body=b'{"id": "7"}',
)

pytestmark = pytest.mark.usefixtures("allow_loopback")


def post(url: str, channel: WebhookChannel | None = None) -> Receipt:
    return (channel or WebhookChannel()).send(ALERT, Target(url=url, secrets=(SECRET,)), now=NOW)


def failure(url: str, channel: WebhookChannel | None = None) -> ChannelError:
    with pytest.raises(ChannelError) as caught:
        post(url, channel)
    error = caught.value
    assert "url-token" not in f"{error!r} {error}"
    # `from None`: the original would carry the URL or what the receiver sent into a traceback.
    assert error.__suppress_context__ or error.__context__ is None
    return error


def test_the_exact_body_is_posted_with_both_signatures() -> None:
    with Receiver() as receiver:
        assert post(receiver.url) == Receipt(status_code=204)

    (request,) = receiver.requests
    assert request.path == "/hook?token=url-token"
    assert request.body == ALERT.body
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Host"] == f"127.0.0.1:{receiver.port}"
    assert verify(request.headers, request.body, secret=SECRET, now_seconds=NOW.timestamp()) == str(ALERT.id)
    assert verify_body(request.headers["X-Sentinel-Signature"], request.body, secret=SECRET)


@pytest.mark.parametrize(
    ("status", "reason", "permanent"),
    [
        (500, FailureReason.SERVER_ERROR, False),
        (503, FailureReason.SERVER_ERROR, False),
        (429, FailureReason.RATE_LIMITED, False),
        (400, FailureReason.CLIENT_ERROR, True),
        (404, FailureReason.CLIENT_ERROR, True),
        (410, FailureReason.GONE, True),
    ],
)
def test_a_status_that_is_no_success_is_a_named_failure(status: int, reason: FailureReason, permanent: bool) -> None:
    with Receiver(Answer(status)) as receiver:
        error = failure(receiver.url)

    assert (error.reason, error.permanent, error.status_code) == (reason, permanent, status)
    assert error.disables_rule == (status == 410)


def test_retry_after_is_passed_on() -> None:
    with Receiver(Answer(429, headers={"Retry-After": "17"})) as receiver:
        assert failure(receiver.url).retry_after_seconds == 17.0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    with Receiver() as elsewhere, Receiver(Answer(status, headers={"Location": elsewhere.url})) as receiver:
        error = failure(receiver.url)

    assert (error.reason, error.permanent) == (FailureReason.REDIRECT, True)
    assert elsewhere.requests == []


def test_a_receiver_that_answers_too_late_is_a_timeout() -> None:
    with Receiver(Answer(delay_seconds=1.0)) as receiver:
        error = failure(receiver.url, WebhookChannel(timeout_seconds=0.2))

    assert (error.reason, error.permanent) == (FailureReason.TIMEOUT, False)


def test_the_time_limit_is_for_the_whole_answer_not_for_each_byte() -> None:
    drip = Answer(raw=b"HTTP/1.1 200 OK\r\nX-Slow: 1\r\n" + b"X: y\r\n" * 20, drip_seconds=0.05)
    started = time.monotonic()
    with Receiver(drip) as receiver:
        error = failure(receiver.url, WebhookChannel(timeout_seconds=0.4))
        elapsed = time.monotonic() - started

    assert error.reason == FailureReason.TIMEOUT
    assert elapsed < 1.5


def test_a_connection_that_is_reset_is_a_failed_connection() -> None:
    with Receiver(Answer(reset=True)) as receiver:
        error = failure(receiver.url)

    assert (error.reason, error.permanent) == (FailureReason.CONNECTION_FAILED, False)


def test_a_connection_that_closes_without_an_answer_is_a_failed_connection() -> None:
    with Receiver(Answer(raw=b"")) as receiver:
        assert failure(receiver.url).reason == FailureReason.CONNECTION_FAILED


def test_a_port_where_nobody_listens_is_a_refused_connection() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = failure(f"http://127.0.0.1:{unused.getsockname()[1]}/hook?token=url-token")

    assert (error.reason, error.permanent) == (FailureReason.CONNECTION_REFUSED, False)


@pytest.mark.parametrize("raw", [b"220 smtp.example.com ESMTP\r\n", b"HTTP/1.1 banana\r\n\r\n", b"A" * 70_000])
def test_an_answer_that_is_not_http_is_a_bad_response(raw: bytes) -> None:
    with Receiver(Answer(raw=raw)) as receiver:
        error = failure(receiver.url)

    assert (error.reason, error.permanent) == (FailureReason.BAD_RESPONSE, False)


def test_a_huge_body_is_not_read() -> None:
    huge = Answer(200, headers={"Content-Length": str(10**12)}, body=b"x" * 5_000_000)
    started = time.monotonic()
    with Receiver(huge) as receiver:
        assert post(receiver.url) == Receipt(status_code=200)

    assert time.monotonic() - started < 5


def test_a_receiver_without_tls_behind_https_is_a_tls_failure() -> None:
    with Receiver() as receiver:
        error = failure(receiver.url.replace("http://", "https://"))

    assert (error.reason, error.permanent) == (FailureReason.TLS, False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a PEM file with a key and a self-signed certificate of hooks.example.test."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    path = tmp_path_factory.mktemp("tls") / "hooks.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=hooks.example.test",
            "-addext", "subjectAltName=DNS:hooks.example.test", "-keyout", str(path), "-out", f"{path}.crt",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def loopback(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


def test_an_unknown_authority_is_a_tls_failure(server_tls: ssl.SSLContext) -> None:
    with Receiver(tls=server_tls) as receiver:
        error = failure(f"https://hooks.example.test:{receiver.port}/", WebhookChannel(resolver=loopback))

    assert error.reason == FailureReason.TLS
    assert receiver.requests == []


def test_tls_checks_the_name_although_the_connection_is_to_an_address(
    server_tls: ssl.SSLContext, certificate: Path
) -> None:
    trusting = ssl.create_default_context(cafile=f"{certificate}.crt")
    channel = WebhookChannel(resolver=loopback, tls=trusting)
    with Receiver(tls=server_tls) as receiver:
        assert post(f"https://hooks.example.test:{receiver.port}/", channel).status_code == 204
        assert failure(f"https://other.example.test:{receiver.port}/", channel).reason == FailureReason.TLS

    assert receiver.requests[0].headers["Host"] == f"hooks.example.test:{receiver.port}"


def test_a_name_that_does_not_exist_is_a_dns_failure() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, f"{host}: unknown")

    error = failure("http://nowhere.example.test/", WebhookChannel(resolver=unknown))

    assert (error.reason, error.permanent) == (FailureReason.DNS, False)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "2130706433", "0x7f.1", "127.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0",
     "169.254.169.254", "10.0.0.1", "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]", "[fe80::1%25lo]"],
)  # fmt: skip
def test_every_spelling_of_an_internal_address_is_refused_before_connecting(host: str, settings: Any) -> None:
    settings.SENTINEL_WEBHOOK_ALLOWED_NETWORKS = []
    with Receiver() as receiver:
        error = failure(f"http://{host}:{receiver.port}/", WebhookChannel(timeout_seconds=1.0))

    assert error.reason in {FailureReason.FORBIDDEN_ADDRESS, FailureReason.DNS}
    assert receiver.requests == []


def test_a_name_that_passed_the_check_when_saved_is_checked_again_when_connecting(settings: Any) -> None:
    settings.SENTINEL_WEBHOOK_ALLOWED_NETWORKS = []
    answers = iter([["8.8.8.8"], ["127.0.0.1"], ["127.0.0.1"]])

    def rebinding(host: str, port: int) -> list[str]:
        return next(answers)

    channel = WebhookChannel(resolver=rebinding)
    with Receiver() as receiver:
        url = f"http://hooks.example.test:{receiver.port}/"
        assert channel.problems(Target(url=url)) == []
        error = failure(url, channel)

    assert (error.reason, error.permanent) == (FailureReason.FORBIDDEN_ADDRESS, True)
    assert receiver.requests == []


def test_the_name_is_looked_up_once_and_the_connection_goes_to_what_was_checked() -> None:
    looked_up: list[str] = []

    def once(host: str, port: int) -> list[str]:
        looked_up.append(host)
        return ["127.0.0.1"]

    with Receiver() as receiver:
        post(f"http://hooks.example.test:{receiver.port}/", WebhookChannel(resolver=once))

    assert looked_up == ["hooks.example.test"]


def test_forbidden_addresses_among_allowed_ones_are_left_out() -> None:
    def mixed(host: str, port: int) -> list[str]:
        return ["::1", "10.0.0.1", "127.0.0.1"]

    with Receiver() as receiver:
        assert post(f"http://hooks.example.test:{receiver.port}/", WebhookChannel(resolver=mixed)).status_code == 204


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("ftp://example.com/", (SECRET,)),
        ("", (SECRET,)),
        ("http://127.0.0.1:1/", ()),
        ("http://127.0.0.1:1/", ("",)),
        ("http://127.0.0.1:1/", ("whsec_?",)),
        (f"http://{'a' * 64}.example/", (SECRET,)),
    ],
)
def test_a_target_that_cannot_be_used_is_given_up(url: str, secrets: tuple[str, ...]) -> None:
    with pytest.raises(ChannelError) as caught:
        WebhookChannel().send(ALERT, Target(url=url, secrets=secrets), now=NOW)

    assert (caught.value.reason, caught.value.permanent) == (FailureReason.INVALID_TARGET, True)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://127.0.0.1/", "may not reach"),
        ("http://nowhere.example.test/", "cannot be resolved"),
        ("gopher://example.com/", "must start with https"),
    ],
)
def test_saving_names_the_field_and_the_reason(url: str, complaint: str, settings: Any) -> None:
    settings.SENTINEL_WEBHOOK_ALLOWED_NETWORKS = []

    def resolver(host: str, port: int) -> list[str]:
        if host == "nowhere.example.test":
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [host]

    (problem,) = WebhookChannel(resolver=resolver).problems(Target(url=url))

    assert problem.field == "webhook_url"
    assert complaint in problem.message


def test_target_and_alert_hide_their_contents_from_repr() -> None:
    shown = repr(Target(url="https://example.com/?token=url-token", secrets=(SECRET,))) + repr(ALERT)

    assert "url-token" not in shown
    assert SECRET not in shown
    assert ALERT.body.decode() not in shown


@pytest.mark.parametrize("answer", [Answer(200), Answer(500), Answer(reset=True), Answer(raw=b"?")])
def test_no_connection_is_left_open(answer: Answer, recwarn: pytest.WarningsRecorder) -> None:
    with Receiver(answer) as receiver, contextlib.suppress(ChannelError):
        post(receiver.url)

    gc.collect()
    assert [warning for warning in recwarn if issubclass(warning.category, ResourceWarning)] == []
