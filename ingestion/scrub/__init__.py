"""Scrubbing: no text reaches storage, HTTP's log, an alert or a dead letter but through here.

Pure: knows neither Django nor the log. Rules are data, see `patterns.yaml`.
"""

from ingestion.scrub.engine import EngineName
from ingestion.scrub.events import scrub_events
from ingestion.scrub.payload import scrub_bytes
from ingestion.scrub.pseudonym import UNSCANNABLE, UNSCANNABLE_PLACEHOLDER, user_pseudonym
from ingestion.scrub.rules import Action, Rule, RuleError, RuleSet, default_rules, load_rules
from ingestion.scrub.scrubber import Counts, Replacement, Scrubbed, Scrubber, Span

__all__ = [
    "UNSCANNABLE",
    "UNSCANNABLE_PLACEHOLDER",
    "Action",
    "Counts",
    "EngineName",
    "Replacement",
    "Rule",
    "RuleError",
    "RuleSet",
    "Scrubbed",
    "Scrubber",
    "Span",
    "default_rules",
    "load_rules",
    "scrub_bytes",
    "scrub_events",
    "user_pseudonym",
]
