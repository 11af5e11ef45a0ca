"""Replace personal data and secrets in texts: the choke point before anything is stored.

1. All texts of a batch are scanned at once for triggers, and each hit is confirmed (`ingestion.scrub.scan`).
2. Overlapping values become one; each is replaced by a typed placeholder.
3. Touched texts are scanned again until nothing is found in them, so that a second scrubbing changes nothing.

What cannot be scanned is replaced as a whole and never passed on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ingestion.cut import cut_text
from ingestion.scrub.confirm import Finding
from ingestion.scrub.engine import EngineName, default_engine
from ingestion.scrub.overlap import without_overlap
from ingestion.scrub.pseudonym import MAX_KEY_BYTES, UNSCANNABLE, UNSCANNABLE_PLACEHOLDER, placeholder
from ingestion.scrub.rules import Action, RuleSet, default_rules
from ingestion.scrub.scan import Findings, Scanner

MIN_KEY_BYTES = 16
MAX_TEXT_CHARACTERS = 131_072
CUT_TEXT_BYTES = 65_536  # what placeholders may add to a cut text stays below the limit: no text is cut twice
MAX_ROUNDS = 4

Counts = Mapping[str, int]
"""How many values of each type were found; never the values."""


@dataclass(frozen=True, slots=True)
class Span:
    """A value found in a text, at the characters [start, end)."""

    start: int
    end: int
    type: str
    rule: str


@dataclass(frozen=True, slots=True)
class Replacement:
    """What a text becomes, and what was found in it."""

    text: str
    counts: Counts


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """The texts in their order, with the counts of each, None for a text in which nothing was found."""

    texts: list[str]
    counts: list[Counts | None]


class Scrubber:
    """Finds and replaces values by rules; may be made before a fork and shared by threads.

    With a `key` (16 to 64 bytes, one per project) placeholders carry a tag by which equal values can be joined; with a
    `user_key`, by default the same, user ids do.
    """

    def __init__(
        self,
        rules: RuleSet | None = None,
        *,
        key: bytes | None = None,
        user_key: bytes | None = None,
        engine: EngineName | None = None,
    ) -> None:
        if key is not None and not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
            raise ValueError(f"the key must have {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes")
        rules = rules or default_rules()
        self.key = key
        self.user_key = user_key or key
        self.names = rules.names
        self.engine_name: EngineName = engine or default_engine()
        self._ranks = {rule.name: rank for rank, rule in enumerate(rules.rules)}
        self._scanner = Scanner(rules.rules, self.engine_name)

    def scrub(self, texts: Sequence[str]) -> Scrubbed:
        """Return the texts without what the rules find. Never raises for any text."""
        scrubbed = list(texts)
        counts: list[Counts | None] = [None] * len(scrubbed)
        for index, replacement in self.replacements(texts).items():
            scrubbed[index], counts[index] = replacement.text, replacement.counts
        return Scrubbed(scrubbed, counts)

    def replacements(self, texts: Sequence[str]) -> dict[int, Replacement]:
        """Return, by index, the texts in which something was found: usually few. Never raises for any text."""
        current = list(texts)
        counts: dict[int, Counter[str]] = {index: Counter() for index in _cut_too_long(current)}
        pending = self._round(current, range(len(current)), self._scanner.findings(current), counts)
        for _ in range(MAX_ROUNDS):
            if not pending:
                break
            pending = self._round(
                current, pending, self._scanner.findings([current[index] for index in pending]), counts
            )
        for index in pending:  # every round uncovered something new
            current[index], counts[index] = UNSCANNABLE_PLACEHOLDER, Counter((UNSCANNABLE,))
        return {index: Replacement(current[index], counts[index]) for index in sorted(counts)}

    def spans(self, text: str) -> list[Span]:
        """Return what would be replaced or flagged in a text as it stands, in order."""
        findings = self._scanner.findings([text]).get(0, [])
        if findings is None:
            return [Span(0, len(text), UNSCANNABLE, UNSCANNABLE.lower())]
        encoded = text.encode(errors="surrogatepass")
        return [
            Span(_characters(encoded[: one.start]), _characters(encoded[: one.end]), one.rule.type, one.rule.name)
            for one in without_overlap(findings, self._ranks)
        ]

    def mask(self, type_: str, value: str) -> str:
        """Return the placeholder of a whole value, for instance that of a metadata entry called "password"."""
        return placeholder(type_, value.encode(errors="surrogatepass"), self.key)

    def _round(
        self, current: list[str], indices: Sequence[int], found: dict[int, Findings], counts: dict[int, Counter[str]]
    ) -> list[int]:
        """Replace what was found in the texts at `indices`; return where the texts changed and may hide more."""
        changed = []
        for position, findings in found.items():
            index = indices[position]
            replaced, types = self._replaced(
                current[index], findings, is_first=index not in counts or not counts[index]
            )
            counts.setdefault(index, Counter()).update(types)
            if replaced != current[index]:
                current[index] = replaced
                changed.append(index)
        return changed

    def _replaced(self, text: str, findings: Findings, *, is_first: bool) -> tuple[str, list[str]]:
        if findings is None:
            return UNSCANNABLE_PLACEHOLDER, [UNSCANNABLE]
        flagged = [one.rule.type for one in findings if one.rule.action is Action.FLAG] if is_first else []
        masked = without_overlap([one for one in findings if one.rule.action is not Action.FLAG], self._ranks)
        encoded = text.encode(errors="surrogatepass")
        parts: list[bytes] = []
        position = 0
        for one in masked:
            parts += encoded[position : one.start], self._in_place_of(encoded[one.start : one.end], one)
            position = one.end
        parts.append(encoded[position:])
        return b"".join(parts).decode(errors="surrogatepass"), flagged + [one.rule.type for one in masked]

    def _in_place_of(self, value: bytes, finding: Finding) -> bytes:
        rule = finding.rule
        if rule.action is Action.DROP:
            return b""
        return placeholder(rule.type, rule.normalise(value), self.key).encode()


def _cut_too_long(texts: list[str]) -> list[int]:
    """Cut, in place, what the validator has not: texts that no contract covers. Return where."""
    if max(map(len, texts), default=0) <= MAX_TEXT_CHARACTERS:
        return []
    too_long = [index for index, text in enumerate(texts) if len(text) > MAX_TEXT_CHARACTERS]
    for index in too_long:
        texts[index] = _cut(texts[index])
    return too_long


def _cut(text: str) -> str:
    # Surrogates cannot be encoded; a question mark each is all that is left of them in a text cut anyway.
    return cut_text(text.encode(errors="replace").decode(), max_bytes=CUT_TEXT_BYTES)


def _characters(encoded: bytes) -> int:
    return len(encoded.decode(errors="surrogatepass"))
