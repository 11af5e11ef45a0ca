"""Load the rules of `patterns.yaml` and refuse, with the rule's name, what would not work under both engines."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ingestion.scrub.samples import Sample, parse_sample
from ingestion.scrub.sensitive_names import SensitiveNames
from ingestion.scrub.trigger import DEFAULT_LEFT, Trigger, pattern_bytes, triggers_of
from ingestion.scrub.validators import NEEDED_GROUPS, NORMALISERS, VALIDATORS, Normaliser, Validator

PATTERNS = Path(__file__).with_name("patterns.yaml")
MAX_REACH_BACK_BYTES = 16_384

_TYPE = re.compile(r"[A-Z][A-Z0-9_]{0,19}")
_FIELDS = frozenset(
    {"name", "type", "trigger", "words", "left", "reach_back", "confirm", "validator", "names", "context", "normalise",
     "action", "exclusive", "tests"}
)  # fmt: skip


class RuleError(ValueError):
    """A rule cannot be used; the message names the rule and the field."""


class Action(enum.StrEnum):
    """What becomes of a found value."""

    MASK = "mask"
    DROP = "drop"
    FLAG = "flag"


@dataclass(frozen=True, slots=True)
class Rule:
    """How one kind of value is found: a trigger, then a match anchored there, then whatever else must hold.

    `reach_back` bytes before the trigger belong to the value, at most `reach_back_bytes` of them. `confirm` starts at
    the first of them and must end behind the start of the trigger. `context` must be found near the value, where given.
    Nothing else is found inside what an `exclusive` rule has matched.
    """

    name: str
    type: str
    triggers: tuple[Trigger, ...]
    reach_back: bytes
    reach_back_bytes: int
    confirm: re.Pattern[bytes]
    validator: Validator | None
    names: SensitiveNames | None
    context: re.Pattern[bytes] | None
    normalise: Normaliser
    action: Action
    exclusive: bool
    hits: tuple[Sample, ...]
    misses: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules in order of precedence, and the names whose whole value is a secret."""

    rules: tuple[Rule, ...]
    names: SensitiveNames


@cache
def default_rules() -> RuleSet:
    """Return the rules of the shipped `patterns.yaml`."""
    return load_rules(PATTERNS.read_text(encoding="utf-8"))


def load_rules(source: str) -> RuleSet:
    """Parse a document of rules in YAML. Raises `RuleError`."""
    try:
        parsed = yaml.safe_load(source)
    except yaml.YAMLError as error:
        raise RuleError(f"the document is not YAML: {error}") from error
    document = _mapping(parsed, "the document")
    _refuse_unknown(document, {"sensitive_names", "rules"}, "the document")
    names = _sensitive_names(_mapping(document.get("sensitive_names"), "sensitive_names"))
    rules = tuple(_rule(_mapping(entry, "an entry of rules"), names) for entry in document.get("rules") or ())
    if not rules:
        raise RuleError("rules: there is none")
    repeated = {rule.name for rule in rules if sum(other.name == rule.name for other in rules) > 1}
    if repeated:
        raise RuleError(f"rule {min(repeated)}: the name is used twice")
    return RuleSet(rules, names)


def _rule(entry: Mapping[str, Any], names: SensitiveNames) -> Rule:
    name = str(entry.get("name") or "without a name")
    _refuse_unknown(entry, _FIELDS, f"rule {name}")
    try:
        return _parsed(entry, name, names)
    except (KeyError, TypeError, ValueError, re.error) as error:
        what = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise RuleError(f"rule {name}: {what}") from error


def _parsed(entry: Mapping[str, Any], name: str, names: SensitiveNames) -> Rule:
    if not _TYPE.fullmatch(entry["type"]):
        raise ValueError(f"type {entry['type']!r} must be up to 20 capital letters, digits and underscores")
    reach_back = entry.get("reach_back") or {"bytes": "", "at_most": 0}
    tests = entry["tests"]
    return Rule(
        name=name,
        type=entry["type"],
        triggers=tuple(_triggers(entry)),
        reach_back=_byte_class(reach_back["bytes"]),
        reach_back_bytes=_at_most(reach_back["at_most"]),
        confirm=_confirm(entry),
        validator=_chosen(VALIDATORS, entry, "validator", None),
        names=names if entry.get("names") else None,
        context=_context(entry.get("context")),
        normalise=_chosen(NORMALISERS, entry, "normalise", NORMALISERS["exact"]),
        action=Action(entry.get("action", Action.MASK)),
        exclusive=bool(entry.get("exclusive", False)),
        hits=_samples(tests["hit"], are_hits=True),
        misses=_samples(tests["miss"], are_hits=False),
    )


def _triggers(entry: Mapping[str, Any]) -> list[Trigger]:
    """Return each trigger for each word."""
    sources = [entry["trigger"]] if isinstance(entry["trigger"], str) else list(entry["trigger"])
    if words := entry.get("words"):
        sources = [source.replace("{word}", re.escape(word)) for source in sources for word in words]
    left = entry.get("left", DEFAULT_LEFT)
    return [trigger for source in sources for trigger in triggers_of(source, left)]


def _confirm(entry: Mapping[str, Any]) -> re.Pattern[bytes]:
    confirm = _compiled(entry["confirm"], "confirm", re.VERBOSE)
    needed = [("names", "name")] if entry.get("names") else []
    needed += [("validator", group) for group in NEEDED_GROUPS.get(entry.get("validator", ""), ())]
    for field, group in needed:
        if group not in confirm.groupindex:
            raise ValueError(f'confirm: {field} needs a group "{group}"')
    return confirm


def _compiled(source: str, field: str, flags: int = 0) -> re.Pattern[bytes]:
    try:
        return re.compile(pattern_bytes(source), flags)
    except re.error as error:
        raise ValueError(f"{field}: {error}") from error


def _byte_class(source: str) -> bytes:
    """Return every byte of a character class, written as between [ and ]."""
    if not source:
        return b""
    member = _compiled(f"[{source}]", "reach_back")
    return bytes(byte for byte in range(1, 256) if member.match(bytes([byte])))


def _at_most(count: int) -> int:
    if not 0 <= count <= MAX_REACH_BACK_BYTES:
        raise ValueError(f"reach_back: at_most must be between 0 and {MAX_REACH_BACK_BYTES}")
    return count


def _context(words: Sequence[str] | None) -> re.Pattern[bytes] | None:
    if not words:
        return None
    alternatives = b"|".join(re.escape(word.lower().encode()) for word in words)
    return re.compile(rb"(?i)(?<![0-9a-z_])(?:%b)(?![0-9a-z_])" % alternatives)


def _chosen(table: Mapping[str, Any], entry: Mapping[str, Any], field: str, default: Any) -> Any:
    if (name := entry.get(field)) is None:
        return default
    if name not in table:
        raise ValueError(f"{field} {name!r} is unknown; there are {', '.join(table)}")
    return table[name]


def _samples(sources: Sequence[str], *, are_hits: bool) -> tuple[Sample, ...]:
    if isinstance(sources, str) or not sources:
        raise ValueError("tests: hit and miss must each list at least one text")
    samples = tuple(parse_sample(source) for source in sources)
    if any(bool(sample.spans) != are_hits for sample in samples):
        raise ValueError("tests: each hit marks what is found with «», no miss does")
    return samples


def _sensitive_names(entry: Mapping[str, Any]) -> SensitiveNames:
    _refuse_unknown(
        entry, {"last_words", "endings", "harmless_before", "harmless_last_words", "tests"}, "sensitive_names"
    )
    try:
        return SensitiveNames(
            last_words=frozenset(entry["last_words"]),
            endings=tuple(entry["endings"]),
            harmless_before={word: frozenset(before) for word, before in entry["harmless_before"].items()},
            harmless_last_words=frozenset(entry["harmless_last_words"]),
            hits=tuple(entry["tests"]["hit"]),
            misses=tuple(entry["tests"]["miss"]),
        )
    except KeyError as error:
        raise RuleError(f"sensitive_names: {error.args[0]} is missing") from error
    except (TypeError, AttributeError) as error:
        raise RuleError(f"sensitive_names: {error}") from error


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise RuleError(f"{what} must be a mapping")
    return value


def _refuse_unknown(entry: Mapping[str, Any], known: set[str] | frozenset[str], what: str) -> None:
    if unknown := sorted(set(map(str, entry)) - known):
        raise RuleError(f"{what}: {unknown[0]} is not a known field")
