"""What besides the log decides how it is ingested: the project, its rules, the days that the tables cover."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import date

from alerting.rules import RuleSnapshot
from detection.profile import Profile
from ingestion.event_batch import Ints
from ingestion.lateness import AttachedDays
from ingestion.limits import Limits
from ingestion.models.project import TextPolicy
from ingestion.scrub import Scrubber
from tests.faults.witness import Witness

# A record that holds these bytes kills its worker or breaks a stage: it must end among the dead letters, alone.
POISON_MARK = b"fault-suite-poison"

_PROJECT = """
    SELECT p.id, p.retention_days, p.text_policy, p.keep_embeddings, p.pseudonymise, p.pseudonym_key
    FROM ingestion_topic t JOIN ingestion_project p ON p.id = t.project_id WHERE t.name = %s
"""
_RULES = """
    SELECT id, project_id, anomaly_types, min_severity, service_pattern, model_pattern, cooldown_seconds, max_age_seconds
    FROM alerting_alertrule WHERE project_id = %s AND enabled ORDER BY id
"""
_DAYS = """
    SELECT to_date(right(child.relname, 8), 'YYYYMMDD') FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
    WHERE inhparent = 'events'::regclass
"""


class KnownDays(AttachedDays):
    """Days that were looked up once: the reference asks no database."""

    def __init__(self, days: frozenset[date]) -> None:
        super().__init__()
        self._known = days

    def refresh(self) -> None:
        self._days = _numbers(self._known)
        self._refreshed_at = time.monotonic()


def _numbers(days: frozenset[date]) -> Ints:
    import numpy as np

    return np.array(sorted((day - date(1970, 1, 1)).days for day in days), np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Of one project; must not change while the reference is compared with what was ingested."""

    project_id: int
    retention_days: int
    days: frozenset[date]
    rules: tuple[RuleSnapshot, ...] = ()
    text_policy: str = TextPolicy.KEEP
    keep_embeddings: bool = False
    pseudonymise: bool = False
    pseudonym_key: bytes = field(default=b"", repr=False)
    profile: Profile = field(default_factory=Profile)

    @property
    def limits(self) -> Limits:
        return Limits(keep_embeddings=self.keep_embeddings)

    def scrubber(self) -> Scrubber:
        return Scrubber(key=self.pseudonym_key if self.pseudonymise else None, user_key=self.pseudonym_key)


def read_setting(witness: Witness, topic: str) -> Setting:
    """Return the setting of the project that `topic` feeds."""
    ((project_id, retention_days, text_policy, keep_embeddings, pseudonymise, key),) = witness.rows(_PROJECT, topic)
    return Setting(
        project_id=project_id,
        retention_days=retention_days,
        text_policy=text_policy,
        keep_embeddings=keep_embeddings,
        pseudonymise=pseudonymise,
        pseudonym_key=bytes(key),
        rules=tuple(_rule(*row) for row in witness.rows(_RULES, project_id)),
        days=frozenset(day for (day,) in witness.rows(_DAYS)),
    )


def _rule(
    rule_id: int,
    project_id: int,
    types: list[str],
    severity: str,
    service: str,
    model: str,
    cooldown_seconds: int,
    max_age_seconds: int | None,
) -> RuleSnapshot:
    return RuleSnapshot(
        id=rule_id,
        project_id=project_id,
        anomaly_types=frozenset(types),
        min_severity=severity,
        service_pattern=service,
        model_pattern=model,
        cooldown_seconds=cooldown_seconds,
        max_age_seconds=max_age_seconds,
    )
