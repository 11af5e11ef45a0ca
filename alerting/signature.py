"""Signatures of webhook requests, for both ends: Standard Webhooks and `X-Sentinel-Signature`.

`webhook-signature` is `v1,<base64 HMAC-SHA256>` over `id.timestamp.body` (Standard Webhooks 1.0.0); while a secret is being
replaced it holds one signature per secret, separated by spaces. `X-Sentinel-Signature` is the hex HMAC-SHA256 of the
exact body under the newest secret. The HMAC key is the secret's UTF-8 bytes or, for a secret of the form
`whsec_<base64>`, the bytes that the base64 part encodes. Imports the standard library alone, so that a receiver can copy it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence

HEADER_ID = "webhook-id"
HEADER_TIMESTAMP = "webhook-timestamp"
HEADER_SIGNATURE = "webhook-signature"
HEADER_SENTINEL_SIGNATURE = "X-Sentinel-Signature"
SECRET_PREFIX = "whsec_"  # noqa: S105  # the form, not a secret
TOLERANCE_SECONDS = 300


class SignatureError(ValueError):
    """The request must not be trusted; the message says which check failed and holds no secret."""


def new_secret() -> str:
    """Return a fresh secret: `whsec_` and 32 random bytes in base64."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signing_key(secret: str) -> bytes:
    """Return the HMAC key of `secret`; raise `ValueError` where it is empty or not the base64 that it claims to be."""
    if not secret:
        raise ValueError("the secret is empty")
    if not secret.startswith(SECRET_PREFIX):
        return secret.encode()
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"what follows {SECRET_PREFIX} is not base64") from None
    if not key:
        raise ValueError(f"nothing follows {SECRET_PREFIX}")
    return key


def sign(*, webhook_id: str, timestamp_seconds: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """Return the signature headers of a request; the newest of `secrets` comes first."""
    signed = b"%s.%d.%s" % (webhook_id.encode(), timestamp_seconds, body)
    keys = [signing_key(secret) for secret in secrets]
    return {
        HEADER_ID: webhook_id,
        HEADER_TIMESTAMP: str(timestamp_seconds),
        HEADER_SIGNATURE: " ".join(f"v1,{_base64_hmac(key, signed)}" for key in keys),
        HEADER_SENTINEL_SIGNATURE: hmac.new(keys[0], body, hashlib.sha256).hexdigest(),
    }


def verify(
    headers: Mapping[str, str],
    body: bytes,
    *,
    secret: str,
    now_seconds: float,
    tolerance_seconds: int = TOLERANCE_SECONDS,
) -> str:
    """Return the request's `webhook-id`, which repeats carry too; raise `SignatureError` unless `secret` signed it.

    Header names are compared without regard to case. `X-Sentinel-Signature` is not consulted: see `verify_body`.
    """
    given = {name.lower(): value for name, value in headers.items()}
    try:
        webhook_id, timestamp = given[HEADER_ID], given[HEADER_TIMESTAMP]
        signatures = given[HEADER_SIGNATURE].split()
    except KeyError as missing:
        raise SignatureError(f"header {missing.args[0]} is missing") from None
    if not timestamp.isascii() or not timestamp.isdigit():
        raise SignatureError(f"{HEADER_TIMESTAMP} is not a number of seconds")
    if abs(now_seconds - int(timestamp)) > tolerance_seconds:
        raise SignatureError(f"{HEADER_TIMESTAMP} is more than {tolerance_seconds} s away")
    signed = b"%s.%s.%s" % (webhook_id.encode(), timestamp.encode(), body)
    expected = f"v1,{_base64_hmac(signing_key(secret), signed)}".encode()
    if not any(hmac.compare_digest(expected, signature.encode()) for signature in signatures):
        raise SignatureError("no signature matches")
    return webhook_id


def verify_body(signature: str, body: bytes, *, secret: str) -> bool:
    """Return whether `signature`, the value of `X-Sentinel-Signature`, is the one of `body`."""
    expected = hmac.new(signing_key(secret), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.strip().lower().encode())


def _base64_hmac(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
