"""Dead letters keep what a human needs to understand them, and nothing that was to be scrubbed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.scrub import Scrubber, scrub_bytes
from ingestion.scrub.payload import scrub_payloads
from ingestion.scrub.pseudonym import user_pseudonym

KEY = bytes(range(32))
SCRUBBER = Scrubber(key=KEY)


def text_of(raw: bytes, scrubber: Scrubber) -> str:
    return scrub_bytes(raw, scrubber).text


def test_a_rejected_event_stays_json_and_loses_its_values() -> None:
    raw = json.dumps(
        {"prompt": {"text": 'mail "anna@example.com"\nnow'}, "metadata": {"api_key": "s3cr3t-value"}, "latency_ms": "x"}
    ).encode()
    scrubbed = json.loads(text_of(raw, SCRUBBER))
    assert scrubbed["prompt"]["text"].startswith('mail "[EMAIL:')
    assert scrubbed["metadata"]["api_key"].startswith("[SECRET:")
    assert scrubbed["latency_ms"] == "x"


def test_a_user_id_becomes_the_pseudonym_that_an_accepted_event_gets() -> None:
    raw = b'{"user_id": "bob", "model": 1}'
    assert json.loads(text_of(raw, SCRUBBER))["user_id"] == user_pseudonym("bob", KEY)


@pytest.mark.parametrize("raw", [b'{"user_id": 12345}', b'{"user_id":"Jane Doe', b'{"user_id" : "a\\"b"}'])
def test_a_user_id_of_any_shape_goes(raw: bytes) -> None:
    scrubbed = text_of(raw, SCRUBBER)
    assert "user_" in scrubbed
    assert not any(part in scrubbed for part in ("12345", "Jane", "Doe", "a\\"))


@pytest.mark.parametrize("raw", [b'{"x": "anna\\u0040example\\u002ecom"}', b'{"x": "anna\\U0040example\\U002Ecom"}'])
def test_escapes_hide_no_address(raw: bytes) -> None:
    assert "example" not in text_of(raw, SCRUBBER)


def test_an_escaped_backslash_before_u_is_no_escape() -> None:
    raw = b'{"x": "C:\\\\u0040"}'
    assert text_of(raw, SCRUBBER) == raw.decode()


def test_what_is_not_utf8_is_decoded_with_replacements() -> None:
    assert text_of(b"\xff\xfe anna@example.com", Scrubber()) == "�� [EMAIL]"


def test_nul_is_replaced_since_postgres_stores_none() -> None:
    assert text_of(b"a\0b", SCRUBBER) == "a�b"


def test_a_long_payload_is_cut() -> None:
    scrubbed = scrub_bytes(b"word " * 100_000, SCRUBBER, max_bytes=1_000)
    assert 900 < len(scrubbed.text) <= 1_000
    assert scrubbed.is_cut


def test_a_payload_that_only_placeholders_change_is_not_cut() -> None:
    assert not scrub_bytes(b"anna@example.com", SCRUBBER, max_bytes=16).is_cut


@given(st.binary())
def test_any_bytes_become_text_that_a_second_scrubbing_leaves_alone(raw: bytes) -> None:
    scrubbed = text_of(raw, SCRUBBER)
    assert "\0" not in scrubbed
    assert SCRUBBER.scrub([scrubbed]).texts == [scrubbed]


@given(st.lists(st.binary()))
def test_many_payloads_become_what_each_alone_becomes(raws: list[bytes]) -> None:
    raws += [b"", b"anna@example.com", b"word " * 3_000, b"a\0b"]
    assert scrub_payloads(raws, SCRUBBER) == [scrub_bytes(raw, SCRUBBER) for raw in raws]
