"""Decide whether a value really stands where a trigger matched."""

from __future__ import annotations

from dataclasses import dataclass

from ingestion.scrub.pseudonym import is_in_placeholder, is_placeholder
from ingestion.scrub.rules import Rule
from ingestion.scrub.validators import group_span

CONTEXT_BYTES_BEFORE = 60
CONTEXT_BYTES_AFTER = 25


@dataclass(frozen=True, slots=True)
class Finding:
    """A value at the bytes [start, end) of a buffer; `claimed` is all that its rule matched around it."""

    start: int
    end: int
    rule: Rule
    claimed: tuple[int, int]

    def moved(self, by: int) -> Finding:
        """Return the finding with offsets relative to another place."""
        return Finding(self.start + by, self.end + by, self.rule, (self.claimed[0] + by, self.claimed[1] + by))


def confirm(data: bytes, anchor: int, rule: Rule, *, low: int, high: int) -> Finding | None:
    """Check a rule whose trigger's value begins at `anchor`, within the text at the bytes [low, high)."""
    match = rule.confirm.match(data, _first_byte(data, anchor, rule, low), high)
    if match is None or match.end() <= anchor:
        return None
    if rule.names is not None and match["name"].decode() not in rule.names:
        return None
    if rule.validator is not None and not rule.validator(match):
        return None
    start, end = _whole_characters(data, *group_span(match, "value"))
    if start == end or is_placeholder(data[start:end]) or is_in_placeholder(data, match.start()):
        return None
    if rule.context is not None and not _has_context(data, start, end, rule, low, high):
        return None
    return Finding(start, end, rule, group_span(match, "claim"))


def _first_byte(data: bytes, anchor: int, rule: Rule, low: int) -> int:
    """Go back from the anchor over the bytes that the rule allows there."""
    if not rule.reach_back:
        return anchor
    before = data[max(low, anchor - rule.reach_back_bytes) : anchor]
    return anchor - len(before) + len(before.rstrip(rule.reach_back))


def _whole_characters(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Widen a span so that it does not cut a character of UTF-8 in two."""
    while data[start] & 0xC0 == 0x80:
        start -= 1
    while data[end] & 0xC0 == 0x80:
        end += 1
    return start, end


def _has_context(data: bytes, start: int, end: int, rule: Rule, low: int, high: int) -> bool:
    assert rule.context is not None
    before = data[max(low, start - CONTEXT_BYTES_BEFORE) : start]
    after = data[end : min(high, end + CONTEXT_BYTES_AFTER)]
    return rule.context.search(before) is not None or rule.context.search(after) is not None
