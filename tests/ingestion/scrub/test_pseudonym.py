"""Placeholders and pseudonyms are stable, keyed and recognised."""

from __future__ import annotations

import hashlib

import pytest

from ingestion.scrub.pseudonym import is_placeholder, placeholder, user_pseudonym

KEY = bytes(range(32))


def test_a_tag_is_keyed_blake2b_over_type_nul_and_value() -> None:
    expected = hashlib.blake2b(b"EMAIL\0anna@example.com", key=KEY, digest_size=6).hexdigest()
    assert placeholder("EMAIL", b"anna@example.com", KEY) == f"[EMAIL:{expected}]"


def test_types_have_tags_of_their_own() -> None:
    assert placeholder("A", b"x", KEY)[3:] != placeholder("B", b"x", KEY)[3:]


@pytest.mark.parametrize("text", [b"[EMAIL]", b"[EMAIL:b52312d13fb0]", b"[CREDIT_CARD]"])
def test_placeholders_are_recognised(text: bytes) -> None:
    assert is_placeholder(text)


@pytest.mark.parametrize("text", [b"[EMAIL", b"[email]", b"[EMAIL:xyz]", b"x[EMAIL]", b"[EMAIL][EMAIL]", b""])
def test_nothing_else_is_a_placeholder(text: bytes) -> None:
    assert not is_placeholder(text)


@pytest.mark.parametrize("user_id", ["bob", "user_1", "user_0123456789abcdef0", "é", "\ud800", "[USER_ID"])
def test_a_pseudonym_of_a_pseudonym_is_itself(user_id: str) -> None:
    once = user_pseudonym(user_id, KEY)
    assert once != user_id
    assert user_pseudonym(once, KEY) == user_pseudonym(once, bytes(32)) == user_pseudonym(once, None) == once
