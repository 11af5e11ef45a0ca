"""Replacing: placeholders, overlaps, limits, and what happens when a text cannot be scanned."""

from __future__ import annotations

import multiprocessing
import threading
import time
from pathlib import Path

import pytest

from ingestion.scrub import RuleSet, Scrubber, default_rules, load_rules
from ingestion.scrub.engine import EngineName, Hit, ScanError, default_engine
from ingestion.scrub.scan import MAX_HITS_PER_TEXT, TEXTS_PER_SCAN, Scanner
from ingestion.scrub.scrubber import MAX_TEXT_CHARACTERS

KEY = bytes(range(32))
MAX_HOSTILE_SECONDS = 0.2  # ten times the aim: a test machine may be busy


@pytest.fixture(scope="module", params=["hyperscan", "re2"])
def engine(request: pytest.FixtureRequest) -> EngineName:
    pytest.importorskip("hyperscan" if request.param == "hyperscan" else "re2")
    engine: EngineName = request.param
    return engine


@pytest.fixture(scope="module")
def scrubber(engine: EngineName) -> Scrubber:
    return Scrubber(engine=engine)


def scrubbed(scrubber: Scrubber, text: str) -> str:
    return scrubber.scrub([text]).texts[0]


def test_each_value_becomes_a_placeholder_of_its_type(scrubber: Scrubber) -> None:
    result = scrubber.scrub(
        ["anna@example.com paid with 4111 1111 1111 1111", "nothing here", "b@example.com c@example.com"]
    )
    assert result.texts == ["[EMAIL] paid with [CREDIT_CARD]", "nothing here", "[EMAIL] [EMAIL]"]
    assert result.counts == [{"EMAIL": 1, "CREDIT_CARD": 1}, None, {"EMAIL": 2}]


def test_with_a_key_spellings_of_one_value_get_one_tag() -> None:
    texts = Scrubber(key=KEY).scrub(["a@example.com", "A@Example.COM", "b@example.com"]).texts
    assert texts[0] == texts[1] != texts[2]
    assert texts[0].startswith("[EMAIL:")
    assert len(texts[0]) == len("[EMAIL:b52312d13fb0]")
    cards = Scrubber(key=KEY).scrub(["4111111111111111", "4111-1111-1111-1111"]).texts
    assert cards[0] == cards[1]


def test_another_key_gives_other_tags() -> None:
    assert scrubbed(Scrubber(key=KEY), "a@example.com") != scrubbed(Scrubber(key=bytes(32)), "a@example.com")


@pytest.mark.parametrize("length", [0, 15, 65])
def test_a_key_of_the_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="16 to 64 bytes"):
        Scrubber(key=bytes(length))


def test_values_that_overlap_are_masked_as_one(scrubber: Scrubber) -> None:
    # The token is "4111", the card is all of it; neither may leave digits behind.
    assert scrubbed(scrubber, "password=4111 1111 1111 1111 x") == "password=[SECRET] x"


def test_a_host_behind_a_password_is_no_address(scrubber: Scrubber) -> None:
    assert scrubbed(scrubber, "postgres://app:hunter2@db.example.com/x") == "postgres://app:[SECRET]@db.example.com/x"


def test_what_a_mask_uncovers_is_masked_too(scrubber: Scrubber) -> None:
    once = scrubbed(scrubber, "see a@example.com,redis://x:a@example.com b@example.com")
    assert "example.com b" not in once.replace("@example.com [EMAIL]", "")
    assert scrubbed(scrubber, once) == once


@pytest.mark.parametrize(
    "text",
    [
        "550e8400-e29b-41d4-a716-446655440000",
        "4bf92f3577b34da6a3ce929d0e0e4736",
        "00f067aa0ba902b7",
        "1732184130 1732184130123 1732184130123456 1732184130123456789",
        "2025-11-21T10:15:30.123456+00:00",
        "v1.2.3 18.2.0-rc.1 numpy==2.1.0 react@18.2.0 10.0.19045.3693",
        "5551234567 2125551234 +15551234567",
        "chatcmpl-9xYzAbCdEfGhIjKlMnOpQrStUvWxY req_011CQabcdefghijk",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "gpt-4o-2024-08-06 claude-3-5-sonnet-20241022 eu.anthropic.claude-v2:1",
        "total_tokens: 1234567890123, max_tokens=2048, token_count=12, key: value, keyboard",
        "risk-based task-force disk-usage ask-me-anything-about-learning",
        "3.14159265358979323846 0.4532015112830366 4.11e15",
        "https://example.com/path?page=2&sort=asc#top",
    ],
)
def test_look_alikes_stay(scrubber: Scrubber, text: str) -> None:
    assert scrubber.spans(text) == []


def test_offsets_are_in_characters(scrubber: Scrubber) -> None:
    [span] = scrubber.spans("日本 é 🎉 anna@example.com.")
    assert (span.start, span.end, span.type, span.rule) == (7, 23, "EMAIL", "email")


def test_a_text_with_nul_is_scrubbed_and_keeps_it(scrubber: Scrubber) -> None:
    texts = ["a\0anna@example.com\0", "b@example.com"]
    assert scrubber.scrub(texts).texts == ["a\0[EMAIL]\0", "[EMAIL]"]


def test_no_value_crosses_from_one_text_to_the_next(scrubber: Scrubber) -> None:
    texts = ["password=", "hunter2", "anna@", "example.com", "4111 1111", "1111 1111"]
    assert scrubber.scrub(texts).texts == texts


def test_many_texts_keep_their_order(scrubber: Scrubber) -> None:
    texts = [f"user{n}@example.com" if n % 1_000 == 7 else f"text {n}" for n in range(2 * TEXTS_PER_SCAN + 3)]
    expected = ["[EMAIL]" if "@" in text else text for text in texts]
    assert scrubber.scrub(texts).texts == expected


def test_a_text_with_too_many_hits_is_replaced_as_a_whole(scrubber: Scrubber) -> None:
    texts = ["a@b " * (MAX_HITS_PER_TEXT + 1), "anna@example.com"]
    result = scrubber.scrub(texts)
    assert result.texts == ["[UNSCANNABLE]", "[EMAIL]"]
    assert result.counts == [{"UNSCANNABLE": 1}, {"EMAIL": 1}]


def test_a_batch_of_hostile_texts_does_not_cost_the_others_theirs(scrubber: Scrubber) -> None:
    hostile = "a@b " * 2_500
    result = scrubber.scrub([hostile] * 5 + ["plain", "anna@example.com"] + [hostile] * 5)
    assert result.texts == ["[UNSCANNABLE]"] * 5 + ["plain", "[EMAIL]"] + ["[UNSCANNABLE]"] * 5


class RefusingEngine:
    """An engine that fails on one word."""

    def hits(self, data: bytes, *, limit: int) -> list[Hit]:
        if b"poison" in data:
            raise ScanError("refused")
        return []


def test_what_the_engine_refuses_is_singled_out() -> None:
    scanner = Scanner(default_rules().rules, default_engine(), build=lambda name, triggers: RefusingEngine())
    assert scanner.findings(["one", "poison", "three", "poison", "five"]) == {1: None, 3: None}


def test_a_text_beyond_every_contract_is_cut_once(scrubber: Scrubber) -> None:
    text = "a@b.io " * (MAX_TEXT_CHARACTERS // 7 + 100)
    once = scrubbed(scrubber, "word " * MAX_TEXT_CHARACTERS)
    assert len(once) < MAX_TEXT_CHARACTERS
    assert scrubbed(scrubber, once) == once
    assert scrubbed(scrubber, text) == "[UNSCANNABLE]"


HOSTILE = [
    "1.1.1.1 ", "a@a.", "a@a.io ", "4111 ", "4111 1111 ", "((((", "AKIA", " AKIA", "1234567890", "::", "://a:b@c ", "@",
    ".eyJaaaaaaaaa", "-----BEGIN RSA PRIVATE KEY-----", "password=", 'password="', "api key: ", "%40a", "é@é.é",
    "x@" + "a-" * 40 + ".", *(sample.text for rule in default_rules().rules for sample in rule.hits),
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_no_text_takes_long(scrubber: Scrubber, piece: str) -> None:
    text = (piece * 10_000)[:10_000]
    scrubber.scrub(["warm"])
    started = time.process_time()
    scrubber.scrub([text])
    assert time.process_time() - started < MAX_HOSTILE_SECONDS


def test_threads_share_one_scrubber(scrubber: Scrubber) -> None:
    texts = [f"user{n}@example.com and text" for n in range(200)]
    results: list[list[str]] = []
    threads = [threading.Thread(target=lambda: results.append(scrubber.scrub(texts).texts)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [["[EMAIL] and text"] * 200] * 4


def _scrub_in_child(scrubber: Scrubber, path: str) -> None:
    Path(path).write_text(scrubbed(scrubber, "anna@example.com"))


# Python 3.12 and later warn of any fork beside native threads, which numpy may have started.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_scrubber_used_before_a_fork_works_behind_it(scrubber: Scrubber, tmp_path: Path) -> None:
    assert scrubbed(scrubber, "anna@example.com") == "[EMAIL]"
    written = tmp_path / "scrubbed"
    child = multiprocessing.get_context("fork").Process(target=_scrub_in_child, args=(scrubber, str(written)))
    child.start()
    child.join(30)
    assert written.read_text() == "[EMAIL]"


ONE_RULE = """
sensitive_names:
  {{last_words: [], endings: [], harmless_before: {{}}, harmless_last_words: [], tests: {{hit: [], miss: []}}}}
rules:
  - {{name: badge, type: BADGE, trigger: 'B[0-9]{{4}}', confirm: 'B\\d{{4,8}}', {extra}
     tests: {{hit: ["«B1234»"], miss: ["B12"]}}}}
"""


def one_rule(extra: str) -> RuleSet:
    return load_rules(ONE_RULE.format(extra=extra))


def test_a_rule_with_context_needs_a_word_nearby(engine: EngineName) -> None:
    scrubber = Scrubber(one_rule("context: [badge, staff id],"), engine=engine)
    assert scrubbed(scrubber, "Staff ID is B1234") == "Staff ID is [BADGE]"
    assert scrubbed(scrubber, "B1234 (badge)") == "[BADGE] (badge)"
    assert scrubbed(scrubber, "badges B1234") == "badges B1234"
    assert scrubbed(scrubber, "badge" + " " * 60 + "B1234").endswith("B1234")


def test_a_rule_may_drop_its_value(engine: EngineName) -> None:
    result = Scrubber(one_rule("action: drop,"), engine=engine).scrub(["B1234", "a B1234 b"])
    assert result.texts == ["", "a  b"]
    assert result.counts == [{"BADGE": 1}, {"BADGE": 1}]


def test_a_rule_may_only_flag_its_value(engine: EngineName) -> None:
    result = Scrubber(one_rule("action: flag,"), engine=engine).scrub(["a B1234 b"])
    assert result.texts == ["a B1234 b"]
    assert result.counts == [{"BADGE": 1}]
