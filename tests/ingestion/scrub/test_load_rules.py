"""A rule that would not work is refused with its name and what is wrong."""

from __future__ import annotations

import re

import pytest
import yaml

from ingestion.scrub.rules import PATTERNS, RuleError, load_rules
from ingestion.scrub.samples import parse_sample

NAMES = yaml.safe_load(PATTERNS.read_text(encoding="utf-8"))["sensitive_names"]
RULE = {
    "name": "badge",
    "type": "BADGE",
    "trigger": "B[0-9]{4}",
    "confirm": r"B\d{4,8}",
    "tests": {"hit": ["«B1234»"], "miss": ["B12"]},
}


def load(**changes: object) -> None:
    rule = {name: value for name, value in (RULE | changes).items() if value is not None}
    load_rules(yaml.safe_dump({"sensitive_names": NAMES, "rules": [rule]}))


def test_a_rule_with_only_what_is_needed_loads() -> None:
    load()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"confirm": None}, "rule badge: confirm is missing"),
        ({"trigger": None}, "rule badge: trigger is missing"),
        ({"tests": None}, "rule badge: tests is missing"),
        ({"confirm": "("}, "rule badge: confirm: missing"),
        ({"trigger": "B[0-9]+"}, "rule badge: trigger .* fixed-width"),
        ({"trigger": "B|BB"}, "rule badge: trigger .* fixed-width"),
        ({"trigger": "B" * 99}, "rule badge: trigger .* more than 56 bytes"),
        ({"trigger": "(?:B[0-9]{8}){9}"}, "rule badge: trigger .* more than 56 bytes"),
        ({"trigger": "é"}, "rule badge: pattern 'é' is not ASCII"),
        ({"type": "badge"}, "rule badge: type 'badge' must be"),
        ({"validator": "lunh"}, "rule badge: validator 'lunh' is unknown; there are card"),
        ({"normalise": "upper"}, "rule badge: normalise 'upper' is unknown"),
        ({"action": "hide"}, "rule badge: 'hide' is not a valid Action"),
        ({"reach_back": {"bytes": "a-z", "at_most": 99_999}}, "rule badge: reach_back: at_most must be between"),
        ({"tests": {"hit": [], "miss": ["x"]}}, "rule badge: tests: hit and miss must each list"),
        ({"tests": {"hit": ["B1234"], "miss": ["x"]}}, "rule badge: tests: each hit marks"),
        ({"tests": {"hit": ["«B1234"], "miss": ["x"]}}, "rule badge: « and » must pair up"),
        ({"tests": {"hit": ["«{blah:3}»"], "miss": ["x"]}}, "names no alphabet"),
        ({"validater": "card"}, "rule badge: validater is not a known field"),
        ({"names": True, "confirm": "B(?P<nom>x)"}, 'rule badge: confirm: names needs a group "name"'),
    ],
)
def test_what_is_wrong_with_a_rule_is_said(changes: dict[str, object], message: str) -> None:
    with pytest.raises(RuleError, match=message):
        load(**changes)


def test_alternatives_of_a_trigger_share_its_boundary() -> None:
    [rule] = load_rules(
        yaml.safe_dump({"sensitive_names": NAMES, "rules": [RULE | {"trigger": "B[0-9]|C[0-9]"}]})
    ).rules
    assert all(re.search(trigger.pattern, b"xC1") is None for trigger in rule.triggers)


def test_a_name_used_twice_is_refused() -> None:
    with pytest.raises(RuleError, match="rule badge: the name is used twice"):
        load_rules(yaml.safe_dump({"sensitive_names": NAMES, "rules": [RULE, RULE]}))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "the document must be a mapping"),
        ("rules: []", "sensitive_names must be a mapping"),
        (yaml.safe_dump({"sensitive_names": NAMES, "rules": []}), "rules: there is none"),
        (yaml.safe_dump({"sensitive_names": {"endings": []}, "rules": []}), "sensitive_names: last_words is missing"),
        ("rules: [", "not YAML"),
    ],
)
def test_what_is_wrong_with_the_document_is_said(source: str, message: str) -> None:
    with pytest.raises(RuleError, match=message):
        load_rules(source)


def test_a_sample_tells_where_its_spans_are() -> None:
    sample = parse_sample("a «b» c «{digits:3}»")
    assert sample.text == "a b c 123"
    assert sample.spans == ((2, 3), (6, 9))
