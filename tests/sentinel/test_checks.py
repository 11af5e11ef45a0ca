"""Settings that contradict each other are refused with an id and a hint."""

from typing import Any

import pytest
from pytest_django import Settings

from sentinel.checks import check_batch_bytes, check_kafka_security


def ids(settings: Settings, **security: Any) -> list[str | None]:
    settings.SENTINEL_KAFKA_SECURITY = {**settings.SENTINEL_KAFKA_SECURITY, **security}
    found = check_kafka_security()
    assert all(message.hint for message in found)
    return [message.id for message in found]


@pytest.mark.parametrize(
    ("security", "expected"),
    [
        ({}, []),
        ({"security_protocol": "TLS"}, ["sentinel.E001"]),
        ({"security_protocol": "SASL_SSL"}, ["sentinel.E002"]),
        ({"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"}, []),
        ({"sasl_mechanism": "PLAIN"}, ["sentinel.E003"]),
        ({"security_protocol": "SSL", "ssl_certfile": "a.pem"}, ["sentinel.E004"]),
        ({"security_protocol": "SSL", "ssl_certfile": "a.pem", "ssl_keyfile": "a.key"}, []),
    ],
)
def test_kafka_security(settings: Settings, security: dict[str, Any], expected: list[str]) -> None:
    assert ids(settings, **security) == expected


def test_a_body_must_hold_one_event(settings: Settings) -> None:
    settings.SENTINEL_MAX_BODY_BYTES = 10
    assert [message.id for message in check_batch_bytes()] == ["sentinel.E006"]
