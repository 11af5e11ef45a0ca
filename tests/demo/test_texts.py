"""Planted personal data is invented but well-formed."""

from __future__ import annotations

import re

import numpy as np

from sentinel.demo.texts import card_number, corpus, personal_data


def luhn_sum(digits: str) -> int:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total


def test_card_numbers_have_a_valid_check_digit() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        number = card_number(rng)
        assert re.fullmatch(r"\d{16}", number)
        assert luhn_sum(number) % 10 == 0


def test_addresses_are_of_reserved_domains() -> None:
    rng = np.random.default_rng(1)
    sentences = [personal_data(rng) for _ in range(200)]
    domains = {d for s in sentences for d in re.findall(r"@([\w.]+\w)", s)}
    assert domains == {"example.com", "example.org", "mail.example.net"}


def test_the_corpus_repeats_with_its_seed_and_varies() -> None:
    text = corpus(np.random.default_rng(1), characters=5_000)
    assert text == corpus(np.random.default_rng(1), characters=5_000)
    sentences = text.split(". ")
    assert len(set(sentences)) > 0.8 * len(sentences)
