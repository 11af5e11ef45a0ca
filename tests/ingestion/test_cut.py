"""What a cut leaves: whole tokens of the head and the tail, never half a secret, never too many bytes."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.cut import CUT_MARK, cut_text

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
WORDS = "lorem ipsum " * 100


@given(texts, st.integers(1, 400))
def test_result_fits_and_is_head_and_tail_of_the_original(text: str, max_bytes: int) -> None:
    result = cut_text(text, max_bytes=max_bytes)
    assert len(result.encode()) <= max_bytes
    if result != text and result:
        head, _, tail = result.partition(CUT_MARK)
        assert text.startswith(head) or CUT_MARK in text
        assert text.endswith(tail) or CUT_MARK in text


@given(texts, st.integers(1, 400))
def test_cutting_again_changes_nothing(text: str, max_bytes: int) -> None:
    once = cut_text(text, max_bytes=max_bytes)
    assert cut_text(once, max_bytes=max_bytes) == once


def test_a_text_that_fits_is_the_same_object() -> None:
    text = "é" * 50
    assert cut_text(text, max_bytes=100) is text


@pytest.mark.parametrize("position", range(-24, 25))
@pytest.mark.parametrize(
    "secret", ["jane.doe@example.com", "4111 1111 1111 1111", "AKIAIOSFODNN7EXAMPLE", "+44 20 7946 0958"]
)
@pytest.mark.parametrize("side", ["head", "tail"])
def test_a_secret_at_the_cut_is_kept_whole_or_not_at_all(secret: str, position: int, side: str) -> None:
    room = 200 - len(CUT_MARK)
    start = room - room // 2 + position
    text = ("ab " * 100)[: max(start - 1, 0)] + " " + secret + " " + "cd " * 100
    if side == "tail":
        text = text[::-1]
        secret = secret[::-1]
    rest = cut_text(text, max_bytes=200).replace(secret, "")
    assert not set(rest) - set("abcd [.]\n")


def test_chinese_text_keeps_characters_up_to_the_cut() -> None:
    result = cut_text("汉字" * 100, max_bytes=200)
    assert len(result.encode()) > 180


def test_full_width_letters_are_a_token() -> None:
    result = cut_text("ab " * 20 + "ｊａｎｅ＠ｅｘａｍｐｌｅ．ｃｏｍ" * 3 + " cd" * 20, max_bytes=150)
    assert "ｊ" not in result
    assert "ｍ" not in result


def test_a_limit_shorter_than_the_mark_leaves_nothing() -> None:
    assert cut_text(WORDS, max_bytes=5) == ""


@pytest.mark.parametrize("text", ["x" * 900_000, "1 " * 450_000, " " * 900_000, "1" * 900_000, "漢" * 300_000])
def test_hostile_texts_are_cut_quickly(text: str) -> None:
    started = time.perf_counter()
    cut_text(text, max_bytes=10_000)
    assert time.perf_counter() - started < 1  # quadratic work would take minutes
