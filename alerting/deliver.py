"""Sends one claimed alert and records what came of it; the only place where an entry changes its status after sending."""

from __future__ import annotations

import hashlib
import random
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db import transaction

from alerting import metrics
from alerting.body import Scrub, render
from alerting.channels import CHANNELS
from alerting.channels.base import Channel, ChannelError, Receipt
from alerting.claim import LEASE
from alerting.models import AlertClaim, AlertRule, DeliveryAttempt, OutboxEntry
from alerting.reasons import AttemptOutcome, EntryStatus, FailureReason
from alerting.retry import delay_seconds
from ingestion.clock import database_now

log = structlog.get_logger(__name__)

# A worker that dies with the alert in its hands is no fault of the receiver; but an alert that kills each worker that
# touches it must not come round for ever.
MAX_ABANDONED_CLAIMS = 10


_scrubbers = threading.local()


def scrub_texts(texts: Sequence[str]) -> Sequence[str]:
    """Scrub with this thread's own scrubber, which is made when first used."""
    if not hasattr(_scrubbers, "scrubber"):
        # The admin imports this module too, and web processes need no engine for it.
        from ingestion.scrub import Scrubber

        _scrubbers.scrubber = Scrubber()
    clean: Sequence[str] = _scrubbers.scrubber.scrub(texts).texts
    return clean


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try to send `entry`: acknowledged with a receipt, or failed with an error."""

    entry: OutboxEntry
    rule: AlertRule
    result: Receipt | ChannelError
    seconds: float
    body_sha256: str

    @property
    def number(self) -> int:
        return self.entry.attempts + 1

    @property
    def outcome(self) -> AttemptOutcome:
        if isinstance(self.result, Receipt):
            return AttemptOutcome.DELIVERED
        if self.result.permanent or self.number >= self.rule.max_attempts:
            return AttemptOutcome.FAILED
        return AttemptOutcome.RETRY

    @property
    def reason(self) -> str:
        return "" if isinstance(self.result, Receipt) else self.result.reason.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Courier:
    """Delivers claimed entries. Everything that the outside world decides comes in here."""

    channels: Mapping[str, Channel]
    scrub: Scrub
    clock: Callable[[], datetime]
    jitter: Callable[[], float]

    def deliver(self, entry: OutboxEntry) -> AttemptOutcome:
        """Send `entry`, which this worker has claimed, and settle it; blocks as long as the channel does.

        Must not be called inside a transaction. A worker that dies in here leaves the entry to its lease.
        """
        attempt = self._attempt(entry)
        now = self.clock()
        if settle(attempt, now=now, jitter=self.jitter()):
            _report(attempt, now=now)
        else:
            log.warning("alert_lease_lost", alert_id=str(entry.id), outcome=attempt.outcome.value)
        return attempt.outcome

    def _attempt(self, entry: OutboxEntry) -> Attempt:
        rule = entry.rule
        assert rule is not None  # alerting.claim attaches it
        digest = hashlib.sha256()
        started = time.monotonic()
        result: Receipt | ChannelError
        try:
            result = self._send(entry, rule, digest=digest)
        except ChannelError as error:
            result = error
        except Exception as error:  # noqa: BLE001  # our mistakes end in the row like every outcome
            # Not the message: it may quote what was sent.
            frames = traceback.format_tb(error.__traceback__)
            log.error("alert_internal_error", alert_id=str(entry.id), error=type(error).__name__, frames=frames)
            result = ChannelError(FailureReason.INTERNAL_ERROR, permanent=False)
        return Attempt(
            entry=entry,
            rule=rule,
            result=result,
            seconds=time.monotonic() - started,
            body_sha256=digest.hexdigest(),
        )

    def _send(self, entry: OutboxEntry, rule: AlertRule, *, digest: hashlib._Hash) -> Receipt:
        if entry.claims - 1 - entry.attempts >= MAX_ABANDONED_CLAIMS:
            raise ChannelError(FailureReason.ABANDONED, permanent=True)
        channel = self.channels.get(rule.channel)
        if channel is None:
            raise ChannelError(FailureReason.UNKNOWN_CHANNEL, permanent=True)
        now = self.clock()
        alert = render(entry, rule, scrub=self.scrub)
        digest.update(alert.body)
        return channel.send(alert, rule.target(now=now), now=now)


def default_courier() -> Courier:
    """Return the courier of production."""
    return Courier(channels=CHANNELS, scrub=scrub_texts, clock=database_now, jitter=random.random)


def settle(attempt: Attempt, *, now: datetime, jitter: float) -> bool:
    """Record an attempt: entry, attempt row, claim, and the rule where the receiver wants no more, in one transaction.

    Returns False and changes nothing where the lease was lost meanwhile: the entry is another worker's now.
    """
    entry = attempt.entry
    with transaction.atomic():
        mine = OutboxEntry.objects.filter(id=entry.id, status=EntryStatus.CLAIMED, claims=entry.claims)
        if not mine.update(**_transition(attempt, now=now, jitter=jitter)):
            return False
        DeliveryAttempt.objects.create(
            entry=entry,
            number=attempt.number,
            channel=attempt.rule.channel,
            outcome=attempt.outcome,
            failure_reason=attempt.reason,
            status_code=attempt.result.status_code,
            seconds=attempt.seconds,
            body_sha256=attempt.body_sha256,
        )
        _settle_claim(attempt, now=now)
        if isinstance(attempt.result, ChannelError) and attempt.result.disables_rule:
            _disable(attempt.rule, attempt.result.reason)
    return True


def _transition(attempt: Attempt, *, now: datetime, jitter: float) -> dict[str, object]:
    """Return the entry's new column values."""
    common = {"attempts": attempt.number, "lease_until": None, "failure_reason": attempt.reason}
    if attempt.outcome is AttemptOutcome.DELIVERED:
        return common | {"status": EntryStatus.DELIVERED, "settled_at": now}
    if attempt.outcome is AttemptOutcome.FAILED:
        return common | {"status": EntryStatus.FAILED, "settled_at": now}
    retry_after = attempt.result.retry_after_seconds if isinstance(attempt.result, ChannelError) else None
    delay = delay_seconds(attempt.number, jitter=jitter, retry_after_seconds=retry_after)
    return common | {"status": EntryStatus.PENDING, "next_attempt_at": now + timedelta(seconds=delay)}


def _settle_claim(attempt: Attempt, *, now: datetime) -> None:
    """Keep the window's claim on acknowledgement, release it when the alert is given up."""
    claim = AlertClaim.objects.filter(entry_id=attempt.entry.id)
    if attempt.outcome is AttemptOutcome.DELIVERED:
        claim.update(acknowledged_at=now)
    elif attempt.outcome is AttemptOutcome.FAILED:
        claim.delete()


def send_again(entry_ids: Collection[uuid.UUID], *, now: datetime) -> int:
    """Give entries that were given up one more attempt, which an operator asked for; return how many there were."""
    failed = OutboxEntry.objects.filter(id__in=entry_ids, status=EntryStatus.FAILED)
    return failed.update(status=EntryStatus.PENDING, next_attempt_at=now, settled_at=None)


def send_test(rule: AlertRule, *, courier: Courier) -> OutboxEntry:
    """Send a test alert of `rule`, also of a disabled one, at once and in this thread; return its entry, settled.

    It passes everything that a real one passes but the deduplication, and its outcome is stored alike; where the attempt
    failed and can be repeated, the alert worker does so.
    """
    now = courier.clock()
    explanation = f"This is a test of the alert rule {rule.name}; nothing is wrong."
    entry = OutboxEntry.objects.create(
        id=uuid.uuid4(),
        rule=rule,
        project=rule.project,
        anomaly_id=uuid.uuid4(),
        service="sentinel",
        model="test",
        anomaly_type="test",
        severity=rule.min_severity,
        anomaly_timestamp=now,
        window_start=now,
        anomaly={"service": "sentinel", "model": "test", "anomaly_type": "test", "explanation": explanation},
        test=True,
        status=EntryStatus.CLAIMED,
        lease_until=now + LEASE,
        claims=1,
        attempts=0,
        next_attempt_at=now,
        created_at=now,
    )
    courier.deliver(entry)
    return OutboxEntry.objects.get(id=entry.id)


def _disable(rule: AlertRule, reason: FailureReason) -> None:
    # Unless somebody has given it another URL since.
    same = AlertRule.objects.filter(id=rule.pk, webhook_url=rule.webhook_url)
    if same.update(enabled=False, disabled_reason=reason):
        log.error("alert_rule_disabled", rule_id=rule.pk, reason=reason.value)


def _report(attempt: Attempt, *, now: datetime) -> None:
    """Write the outcome to the log and the metrics, with the reason that the row holds."""
    channel = attempt.rule.channel
    metrics.ALERT_SEND_SECONDS.labels(channel=channel).observe(attempt.seconds)
    if channel == "webhook":
        delivered = attempt.outcome is AttemptOutcome.DELIVERED
        (metrics.WEBHOOK_DELIVERIES if delivered else metrics.WEBHOOK_FAILURES).inc()
    line = log.bind(
        alert_id=str(attempt.entry.id),
        rule_id=attempt.rule.pk,
        channel=channel,
        attempt=attempt.number,
        status_code=attempt.result.status_code,
        seconds=round(attempt.seconds, 3),
    )
    if attempt.outcome is AttemptOutcome.DELIVERED:
        metrics.ALERTS_SENT.labels(channel=channel).inc()
        delay = (now - attempt.entry.created_at).total_seconds()
        metrics.ALERT_DELAY_SECONDS.labels(channel=channel).observe(delay)
        line.info("alert_delivered")
    elif attempt.outcome is AttemptOutcome.RETRY:
        metrics.ALERT_RETRIES.labels(channel=channel, reason=attempt.reason).inc()
        line.warning("alert_retried", reason=attempt.reason)
    else:
        metrics.ALERT_FAILURES.labels(channel=channel, reason=attempt.reason).inc()
        line.error("alert_failed", reason=attempt.reason)
