"""Make the findings of one text disjoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ingestion.scrub.confirm import Finding
from ingestion.scrub.rules import Rule


def without_overlap(findings: Sequence[Finding], ranks: Mapping[str, int]) -> list[Finding]:
    """Return disjoint findings in order; those that overlap become one under the rule of the lowest rank.

    What overlaps the whole match of an exclusive rule is dropped: the host behind `user:password@` is no e-mail
    address. Everything else that a rule found stays covered.
    """
    if len(findings) < 2:
        return list(findings)
    ordered = sorted(findings, key=lambda finding: (finding.start, -finding.end, ranks[finding.rule.name]))
    merged: list[Finding] = []
    for finding in _outside_claims(ordered):
        if merged and finding.start < merged[-1].end:
            merged[-1] = _union(merged[-1], finding, ranks)
        else:
            merged.append(finding)
    return merged


def _outside_claims(ordered: list[Finding]) -> list[Finding]:
    claims = _joined(sorted({finding.claimed for finding in ordered if finding.rule.exclusive}))
    if not claims:
        return ordered
    kept: list[Finding] = []
    position = 0
    for finding in ordered:
        while position < len(claims) and claims[position][1] <= finding.start:
            position += 1
        is_outside = position == len(claims) or finding.end <= claims[position][0]
        if finding.rule.exclusive or is_outside:
            kept.append(finding)
    return kept


def _joined(claims: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in claims:
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _union(first: Finding, second: Finding, ranks: Mapping[str, int]) -> Finding:
    rule: Rule = min(first.rule, second.rule, key=lambda rule: ranks[rule.name])
    return replace(first, end=max(first.end, second.end), rule=rule)
