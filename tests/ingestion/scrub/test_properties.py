"""What holds for any text whatever."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion.scrub.engine import EngineName
from ingestion.scrub.rules import default_rules
from ingestion.scrub.scrubber import Scrubber

pytest.importorskip("hyperscan")

KEY = bytes(range(32))
SCRUBBERS: dict[tuple[EngineName, bool], Scrubber] = {
    (engine, has_key): Scrubber(key=KEY if has_key else None, engine=engine)
    for engine in ("hyperscan", "re2")
    for has_key in (False, True)
}
# Pieces of what rules look for, so that random texts come near to values and placeholders.
PIECES = [
    *(sample.text for rule in default_rules().rules for sample in (*rule.hits, *rule.misses)),
    *'@.:=-_ \n\t"\'\\/%[]{}()<>\0',
    "anna@example.com", "a@b.io", "4111 1111 1111 1111", "4111111111111111", "password=", 'secret": "', "token:", "key",
    "[EMAIL]", "[SECRET:b52312d13fb0]", "://", "bearer ", "eyJ", "%40", "é", "例", "\ud800", "1", "x",
]  # fmt: skip
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=())),
    st.lists(st.sampled_from(PIECES), max_size=8).map("".join),
    st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=8).map("".join),
)
BATCHES = st.lists(TEXTS, max_size=4)


@given(BATCHES, st.sampled_from(sorted(SCRUBBERS)))
@settings(max_examples=300, deadline=None)
def test_scrubbing_twice_changes_nothing_more(texts: list[str], which: tuple[EngineName, bool]) -> None:
    once = SCRUBBERS[which].scrub(texts)
    twice = SCRUBBERS[which].scrub(once.texts)
    assert twice.texts == once.texts
    assert twice.counts == [None] * len(texts)


@given(TEXTS)
@settings(max_examples=300, deadline=None)
def test_nothing_outside_the_spans_changes(text: str) -> None:
    scrubber = SCRUBBERS["hyperscan", False]
    expected, position = "", 0
    for span in scrubber.spans(text):
        assert position <= span.start < span.end <= len(text)
        expected += f"{text[position : span.start]}[{span.type}]"
        position = span.end
    expected += text[position:]
    # What the first replacement uncovers, another test looks at.
    if not scrubber.spans(expected):
        assert scrubber.scrub([text]).texts == [expected]


@given(TEXTS)
@settings(max_examples=300, deadline=None)
def test_both_engines_give_identical_spans(text: str) -> None:
    assert SCRUBBERS["hyperscan", False].spans(text) == SCRUBBERS["re2", False].spans(text)


@given(BATCHES)
@settings(max_examples=100, deadline=None)
def test_a_text_is_scrubbed_the_same_alone_and_in_a_batch(texts: list[str]) -> None:
    scrubber = SCRUBBERS["hyperscan", True]
    assert scrubber.scrub(texts).texts == [scrubber.scrub([text]).texts[0] for text in texts]
