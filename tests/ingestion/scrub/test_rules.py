"""Every rule finds its hits, exactly, and leaves its misses alone, under both engines."""

from __future__ import annotations

import pytest

from ingestion.scrub.engine import EngineName
from ingestion.scrub.rules import RuleSet, default_rules
from ingestion.scrub.samples import Sample
from ingestion.scrub.scrubber import Scrubber

RULES = default_rules().rules
ENGINES: tuple[EngineName, ...] = ("hyperscan", "re2")
HITS = [pytest.param(rule.name, sample, id=f"{rule.name}-{i}") for rule in RULES for i, sample in enumerate(rule.hits)]
MISSES = [
    pytest.param(rule.name, sample, id=f"{rule.name}-{i}") for rule in RULES for i, sample in enumerate(rule.misses)
]


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> EngineName:
    pytest.importorskip("hyperscan" if request.param == "hyperscan" else "re2")
    engine: EngineName = request.param
    return engine


@pytest.fixture(scope="module")
def scrubber(engine: EngineName) -> Scrubber:
    return Scrubber(engine=engine)


@pytest.fixture(scope="module")
def alone(engine: EngineName) -> dict[str, Scrubber]:
    """A scrubber of each rule alone."""
    names = default_rules().names
    return {rule.name: Scrubber(RuleSet((rule,), names), engine=engine) for rule in RULES}


@pytest.mark.parametrize(("name", "sample"), HITS)
def test_a_rule_finds_exactly_what_its_hits_mark(alone: dict[str, Scrubber], name: str, sample: Sample) -> None:
    assert tuple((span.start, span.end) for span in alone[name].spans(sample.text)) == sample.spans


@pytest.mark.parametrize(("name", "sample"), HITS)
def test_all_rules_together_leave_nothing_of_what_one_finds(scrubber: Scrubber, name: str, sample: Sample) -> None:
    scrubbed = scrubber.scrub([sample.text]).texts[0]
    assert all(sample.text[start:end] not in scrubbed for start, end in sample.spans)
    assert scrubber.scrub([scrubbed]).texts == [scrubbed]


@pytest.mark.parametrize(("name", "sample"), MISSES)
def test_a_rule_leaves_its_misses_alone(alone: dict[str, Scrubber], name: str, sample: Sample) -> None:
    assert alone[name].spans(sample.text) == []
