"""Checks of values, against the arithmetic as the standards word it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.scrub.validators import is_basic_credentials, is_card, is_random, luhn_holds


def whole(value: bytes) -> re.Match[bytes]:
    match = re.fullmatch(rb"(?s)(?P<value>.*)", value)
    assert match is not None
    return match


def luhn_by_the_book(digits: str) -> bool:
    """Double every second digit from the right, add the digits of the products (ISO/IEC 7812-1 annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        product = int(digit) * (2 if place % 2 else 1)
        total += product // 10 + product % 10
    return total % 10 == 0


@given(st.text("0123456789", min_size=1, max_size=30))
def test_luhn_agrees_with_the_book(digits: str) -> None:
    assert luhn_holds(digits.encode()) == luhn_by_the_book(digits)


@pytest.mark.parametrize(
    "number",
    [
        "4111111111111111", "4222222222222", "5555555555554444", "2223003122003222", "378282246310005",
        "6011111111111117", "30569309025904", "3530111333300000", "6200000000000005", "6759649826438453",
    ],
)  # fmt: skip
def test_test_numbers_of_the_networks_are_cards(number: str) -> None:
    assert is_card(whole(number.encode()))


@pytest.mark.parametrize("number", ["4111111111111112", "9111111111111111", "411111111111116", "4444444444444444"])
def test_a_wrong_digit_issuer_or_length_is_no_card(number: str) -> None:
    assert not is_card(whole(number.encode()))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(b"sk-learn-in-practice", False), (b"abcdefghijklmnop", False), (b"a1b2c3d4e5f6", True), (b"aBcDeFgHiJkL", True)],
)
def test_random_is_one_long_mixed_run(value: bytes, expected: bool) -> None:
    assert is_random(whole(value)) is expected


@pytest.mark.parametrize(
    ("value", "expected"), [(b"dXNlcjpwYXNz", True), (b"understandin", False), (b"dXNlcg", False), (b"a", False)]
)
def test_basic_credentials_are_a_name_and_a_password(value: bytes, expected: bool) -> None:
    assert is_basic_credentials(whole(value)) is expected
