from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from alerting.signature import (
    SignatureError,
    new_secret,
    sign,
    signing_key,
    verify,
    verify_body,
)

BODY = b'{"test": 2432232314}'


def test_signature_is_the_one_of_the_standard_webhooks_example() -> None:
    # Test vector of the Standard Webhooks libraries.
    headers = sign(
        webhook_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp_seconds=1614265330,
        body=BODY,
        secrets=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )

    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_sentinel_signature_is_the_hex_hmac_of_the_exact_body() -> None:
    headers = sign(webhook_id="a", timestamp_seconds=1, body=BODY, secrets=["plain secret"])

    assert headers["X-Sentinel-Signature"] == hmac.new(b"plain secret", BODY, hashlib.sha256).hexdigest()
    assert verify_body(headers["X-Sentinel-Signature"], BODY, secret="plain secret")
    assert not verify_body(headers["X-Sentinel-Signature"], BODY + b" ", secret="plain secret")


def test_verify_accepts_what_was_signed_and_returns_its_id() -> None:
    secret = new_secret()
    headers = sign(webhook_id="alert-1", timestamp_seconds=1000, body=BODY, secrets=[secret])

    assert verify({k.upper(): v for k, v in headers.items()}, BODY, secret=secret, now_seconds=1100) == "alert-1"


def test_old_and_new_secret_both_verify_while_one_replaces_the_other() -> None:
    headers = sign(webhook_id="alert-1", timestamp_seconds=1000, body=BODY, secrets=["new secret", "old secret"])

    for secret in ("new secret", "old secret"):
        assert verify(headers, BODY, secret=secret, now_seconds=1000) == "alert-1"
    assert verify_body(headers["X-Sentinel-Signature"], BODY, secret="new secret")


@pytest.mark.parametrize(
    ("change", "body", "now_seconds", "complaint"),
    [
        ({}, BODY + b" ", 1000, "no signature matches"),
        ({"webhook-id": "alert-2"}, BODY, 1000, "no signature matches"),
        ({"webhook-timestamp": "1001"}, BODY, 1000, "no signature matches"),
        ({"webhook-timestamp": "soon"}, BODY, 1000, "not a number"),
        ({}, BODY, 1301, "more than 300 s away"),
        ({}, BODY, 699, "more than 300 s away"),
    ],
)
def test_verify_refuses_what_was_changed_or_is_old(
    change: dict[str, str], body: bytes, now_seconds: float, complaint: str
) -> None:
    headers = sign(webhook_id="alert-1", timestamp_seconds=1000, body=BODY, secrets=["s3cret"])

    with pytest.raises(SignatureError, match=complaint):
        verify(headers | change, body, secret="s3cret", now_seconds=now_seconds)


def test_verify_names_the_missing_header() -> None:
    with pytest.raises(SignatureError, match="webhook-id is missing"):
        verify({}, BODY, secret="s3cret", now_seconds=1000)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_not base64!"])
def test_unusable_secrets_are_refused(secret: str) -> None:
    with pytest.raises(ValueError, match=r"empty|base64|nothing"):
        signing_key(secret)


def test_new_secrets_hold_32_random_bytes() -> None:
    secret = new_secret()

    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert secret != new_secret()
