"""Takes due entries out of the outbox, and decides which of them are sent.

The stages, in this order, all in one transaction per call:

1. `free_expired`: entries whose worker died or stalled are due again.
2. `_lock_due`: due entries are locked, those that another worker has locked are passed over (SKIP LOCKED).
3. `_judge_rule`: the rule is gone or disabled: suppressed.
4. `_judge_window`: the window's alert was acknowledged, or is being sent and somebody waits already: suppressed;
   it is being sent: wait for the outcome; otherwise the entry takes the claim.
5. `_lease`: what is left is claimed with a lease, at most as many as the caller has room for. The others stay pending.

Sending happens afterwards, outside (`alerting.deliver`). All times are the database's, whose clock the workers share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import partial

import structlog
from django.db import transaction
from django.db.models import F

from alerting.metrics import LEASES_EXPIRED, count_suppressed
from alerting.models import AlertClaim, AlertRule, OutboxEntry
from alerting.reasons import EntryStatus, SuppressionReason

log = structlog.get_logger(__name__)

# Well above a channel's time limit (10 s) plus a slow name look-up (30 s).
LEASE = timedelta(seconds=60)
# How long an entry waits before it looks again what became of its window's claim.
WAIT = timedelta(seconds=2)
SCAN_ROWS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """What one call did. `scanned` says whether there was work, also where nothing is left to send."""

    scanned: int = 0
    entries: Sequence[OutboxEntry] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class _Window:
    """The key of a claim."""

    rule_id: int
    project_id: int
    service: str
    model: str
    anomaly_type: str
    window_start: datetime


def claim_due(*, limit: int, now: datetime) -> Claimed:
    """Claim at most `limit` entries for sending; `now` is the database's time."""
    with transaction.atomic():
        free_expired(now=now)
        due = _lock_due(now=now)
        if not due:
            return Claimed()
        live = _judge_rule(due, now=now)
        ready = _judge_window(live, now=now)
        return Claimed(scanned=len(due), entries=_lease(ready[:limit], now=now))


def free_expired(*, now: datetime) -> int:
    """Make entries pending again whose lease has ended; return how many."""
    expired = OutboxEntry.objects.filter(status=EntryStatus.CLAIMED, lease_until__lte=now)
    # Rows that another worker is freeing right now are no reason to wait.
    ids = list(expired.select_for_update(skip_locked=True).values_list("id", flat=True)[:SCAN_ROWS])
    if not ids:
        return 0
    freed = OutboxEntry.objects.filter(id__in=ids).update(
        status=EntryStatus.PENDING, lease_until=None, next_attempt_at=now
    )
    LEASES_EXPIRED.inc(freed)
    log.warning("alert_leases_expired", entries=freed)
    return freed


def _lock_due(*, now: datetime) -> list[OutboxEntry]:
    due = OutboxEntry.objects.filter(status=EntryStatus.PENDING, next_attempt_at__lte=now)
    return list(due.order_by("next_attempt_at").select_for_update(skip_locked=True)[:SCAN_ROWS])


def _judge_rule(entries: Sequence[OutboxEntry], *, now: datetime) -> list[OutboxEntry]:
    """Return the entries whose rule is in force, with the rule attached; a test is sent by a disabled rule too."""
    rules = AlertRule.objects.select_related("project").in_bulk({entry.rule_id for entry in entries})
    live, deleted, disabled = [], [], []
    for entry in entries:
        rule = rules.get(entry.rule_id)
        if rule is None:
            deleted.append(entry)
        elif rule.enabled or entry.test:
            entry.rule = rule
            live.append(entry)
        else:
            disabled.append(entry)
    _suppress(deleted, SuppressionReason.RULE_DELETED, now=now)
    _suppress(disabled, SuppressionReason.RULE_DISABLED, now=now)
    return live


def _judge_window(entries: Sequence[OutboxEntry], *, now: datetime) -> list[OutboxEntry]:
    """Return the entries that hold their window's claim; suppress or postpone the others.

    In the order of the windows throughout, so that workers that want the same windows wait for each other but never in
    a circle: claims are taken, and who waits is written into them.
    """
    ordered = sorted(entries, key=lambda entry: (_window(entry), entry.anomaly_timestamp, entry.id))
    claims = _take_claims([entry for entry in ordered if not entry.test])
    ready, repeats, waiting = [], [], []
    for entry in ordered:
        claim = claims.get(_window(entry))
        if entry.test or (claim is not None and claim.entry_id == entry.id):
            ready.append(entry)
        elif claim is None or _may_wait(claim, entry):
            waiting.append(entry)
        else:
            repeats.append(entry)
    _suppress(repeats, SuppressionReason.DUPLICATE_IN_WINDOW, now=now)
    OutboxEntry.objects.filter(id__in=[entry.id for entry in waiting]).update(next_attempt_at=now + WAIT)
    return sorted(ready, key=lambda entry: entry.next_attempt_at)


def _take_claims(entries: Sequence[OutboxEntry]) -> dict[_Window, AlertClaim]:
    """Claim each entry's window unless it is claimed; return who holds each window.

    The entries are ordered by window; of one window the first, which is the earliest anomaly's, takes the claim. A claim
    that is released in between is missing.
    """
    firsts: dict[_Window, OutboxEntry] = {}
    for entry in entries:
        firsts.setdefault(_window(entry), entry)
    AlertClaim.objects.bulk_create(
        [AlertClaim(**asdict(window), entry_id=entry.id) for window, entry in firsts.items()], ignore_conflicts=True
    )
    found = AlertClaim.objects.filter(
        rule_id__in={window.rule_id for window in firsts},
        service__in={window.service for window in firsts},
        window_start__in={window.window_start for window in firsts},
    )
    return {_window(claim): claim for claim in found}


def _may_wait(claim: AlertClaim, entry: OutboxEntry) -> bool:
    """Return whether `entry` is the one that waits for the outcome of the claim's holder; take the place if it is free.

    One is enough: should the holder be given up, it alerts instead.
    """
    if claim.acknowledged_at is not None:
        return False
    if claim.waiting_entry_id is None:
        claim.waiting_entry_id = entry.id
        AlertClaim.objects.filter(id=claim.pk, waiting_entry_id=None).update(waiting_entry_id=entry.id)
    return claim.waiting_entry_id == entry.id


def _suppress(entries: Sequence[OutboxEntry], reason: SuppressionReason, *, now: datetime) -> None:
    if not entries:
        return
    OutboxEntry.objects.filter(id__in=[entry.id for entry in entries]).update(
        status=EntryStatus.SUPPRESSED, suppression_reason=reason, settled_at=now
    )
    transaction.on_commit(partial(count_suppressed, {reason: len(entries)}))
    log.info("alerts_suppressed", reason=reason.value, entries=len(entries))


def _lease(entries: Sequence[OutboxEntry], *, now: datetime) -> Sequence[OutboxEntry]:
    """Mark `entries`, which are locked, as this worker's."""
    OutboxEntry.objects.filter(id__in=[entry.id for entry in entries]).update(
        status=EntryStatus.CLAIMED, lease_until=now + LEASE, claims=F("claims") + 1
    )
    for entry in entries:
        entry.claims += 1
    return entries


def _window(row: OutboxEntry | AlertClaim) -> _Window:
    return _Window(
        rule_id=row.rule_id or 0,
        project_id=row.project_id or 0,
        service=row.service,
        model=row.model,
        anomaly_type=row.anomaly_type,
        window_start=row.window_start,
    )
