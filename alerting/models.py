"""Rules, the outbox, the claims that make one alert per window, and what came of each attempt."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models.functions import Now

from alerting.channels import CHANNELS
from alerting.channels.base import Target
from alerting.reasons import AttemptOutcome, EntryStatus, FailureReason, SuppressionReason
from alerting.signature import signing_key
from detection.severity import Severity
from ingestion.models.project import Project

DEFAULT_COOLDOWN_SECONDS = 300
DEFAULT_MAX_AGE_SECONDS = 3600
DEFAULT_MAX_ATTEMPTS = 3
MIN_SECRET_BYTES = 16
# So long after a secret was replaced requests are signed with the old one too.
SECRET_OVERLAP = timedelta(hours=24)
SEVERITY_CHOICES = [(severity.value, severity.value.capitalize()) for severity in Severity]

_anomaly_type = RegexValidator(r"\A[a-z0-9_]{1,64}\Z", "An anomaly type has 1 to 64 of a-z, 0-9 and _.")


def channel_choices() -> list[tuple[str, str]]:
    return [(name, name.capitalize()) for name in CHANNELS]


def check_anomaly_types(value: object) -> None:
    """Raise `ValidationError` unless `value` is a list of names of anomaly types."""
    if not isinstance(value, list):
        raise ValidationError("This is not a list of anomaly types.")
    for item in value:
        if not isinstance(item, str):
            raise ValidationError("An anomaly type is a text.")
        _anomaly_type(item)


def check_secret(value: str) -> None:
    """Raise `ValidationError` unless `value` can sign and is too long to be guessed."""
    try:
        key = signing_key(value)
    except ValueError as error:
        raise ValidationError(f"Not usable: {error}.") from None
    if len(key) < MIN_SECRET_BYTES:
        raise ValidationError(f"A secret needs at least {MIN_SECRET_BYTES} bytes.")


class AlertRule(models.Model):
    """Which anomalies of a project reach whom, and how often."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="alert_rules")
    name = models.CharField(max_length=200)
    enabled = models.BooleanField(default=True)
    anomaly_types = models.JSONField(
        default=list, blank=True, validators=[check_anomaly_types], help_text="Empty: every type."
    )
    min_severity = models.CharField(max_length=10, choices=SEVERITY_CHOICES, default=Severity.HIGH.value)
    service_pattern = models.CharField(
        max_length=200, default="*", help_text="Shell pattern: * is anything, ? one character, [ab] a or b."
    )
    model_pattern = models.CharField(max_length=200, default="*", help_text="The same for the model.")
    cooldown_seconds = models.PositiveIntegerField(
        default=DEFAULT_COOLDOWN_SECONDS,
        validators=[MinValueValidator(1), MaxValueValidator(7 * 86_400)],
        help_text="Length of the windows in which one alert per service, model and anomaly type is sent.",
    )
    max_age_seconds = models.PositiveIntegerField(
        default=DEFAULT_MAX_AGE_SECONDS,
        null=True,
        blank=True,
        help_text="Anomalies that are older when they are found alert nobody. Empty: no limit.",
    )
    max_attempts = models.PositiveSmallIntegerField(
        default=DEFAULT_MAX_ATTEMPTS,
        validators=[MinValueValidator(1), MaxValueValidator(20)],
        help_text="Attempts to send one alert before it is given up.",
    )
    channel = models.CharField(max_length=20, choices=channel_choices, default="log")
    webhook_url = models.CharField(max_length=2000, blank=True)
    webhook_secret = models.CharField(max_length=200, blank=True, validators=[check_secret])
    webhook_previous_secret = models.CharField(max_length=200, blank=True, editable=False)
    webhook_secret_changed_at = models.DateTimeField(null=True, blank=True, editable=False)
    disabled_reason = models.CharField(
        max_length=24,
        choices=FailureReason.choices,
        blank=True,
        editable=False,
        help_text="Why the system disabled the rule.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["project", "name"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="one_alert_rule_per_name")]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Raise `ValidationError` naming the field and what is wrong with the channel's target."""
        super().clean()
        channel = CHANNELS.get(self.channel)
        problems = [] if channel is None else channel.problems(Target(url=self.webhook_url))
        errors: dict[str, list[str]] = {}
        for problem in problems:
            errors.setdefault(problem.field, []).append(problem.message)
        if errors:
            raise ValidationError(errors)

    def replace_secret(self, secret: str, *, now: datetime) -> None:
        """Sign with `secret` from now on, and with the current one too for `SECRET_OVERLAP`; does not save."""
        self.webhook_previous_secret = self.webhook_secret
        self.webhook_secret = secret
        self.webhook_secret_changed_at = now

    def target(self, *, now: datetime) -> Target:
        """Return where alerts go, with the secrets in force at `now`, newest first."""
        secrets = [self.webhook_secret]
        changed_at = self.webhook_secret_changed_at
        if self.webhook_previous_secret and changed_at is not None and now < changed_at + SECRET_OVERLAP:
            secrets.append(self.webhook_previous_secret)
        return Target(url=self.webhook_url, secrets=tuple(secrets))

    @property
    def secret_hint(self) -> str:
        """Return the secret's last four characters, for people who compare; nothing of a short one."""
        return f"…{self.webhook_secret[-4:]}" if len(self.webhook_secret) >= 12 else ""


class OutboxEntry(models.Model):
    """An anomaly that a rule matched; written by the transaction that stored the anomaly.

    `id` is uuid5(anomaly id, rule id): a batch that is applied again adds nothing, and the receiver sees it as
    `webhook-id`. Rules and projects have no foreign key constraint here: one that is deleted while a worker still
    holds its snapshot must not fail the ingest transaction.
    """

    id = models.UUIDField(primary_key=True)
    rule = models.ForeignKey(
        AlertRule, null=True, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    project = models.ForeignKey(
        Project, null=True, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    anomaly_id = models.UUIDField()
    service = models.CharField(max_length=200)
    model = models.CharField(max_length=200)
    anomaly_type = models.CharField(max_length=64)
    severity = models.CharField(max_length=10, choices=SEVERITY_CHOICES)
    anomaly_timestamp = models.DateTimeField(help_text="Of the event, UTC.")
    window_start = models.DateTimeField(help_text="Of the rule's window that the anomaly falls into.")
    anomaly = models.JSONField(default=dict, help_text="What the alert shows; empty where it was never to be sent.")
    test = models.BooleanField(default=False, help_text="Sent by hand to try the rule; not deduplicated.")

    status = models.CharField(max_length=12, choices=EntryStatus.choices, default=EntryStatus.PENDING)
    suppression_reason = models.CharField(max_length=24, choices=SuppressionReason.choices, blank=True)
    failure_reason = models.CharField(
        max_length=24, choices=FailureReason.choices, blank=True, help_text="Of the last attempt."
    )
    next_attempt_at = models.DateTimeField(db_default=Now())
    lease_until = models.DateTimeField(null=True)
    claims = models.IntegerField(db_default=0, help_text="Fencing token: how often a worker has taken the entry.")
    attempts = models.IntegerField(db_default=0, help_text="Attempts whose outcome is known.")
    created_at = models.DateTimeField(db_default=Now())
    settled_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]
        verbose_name_plural = "outbox entries"
        indexes = [
            models.Index(fields=["next_attempt_at"], condition=models.Q(status=EntryStatus.PENDING), name="outbox_due"),
            models.Index(fields=["lease_until"], condition=models.Q(status=EntryStatus.CLAIMED), name="outbox_leased"),
            models.Index(fields=["created_at"], name="outbox_created"),
            models.Index(fields=["anomaly_id"], name="outbox_anomaly"),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.status}"


class AlertClaim(models.Model):
    """The right to send the one alert of a window; decided by the unique constraint, for all replicas.

    Taken before sending, kept once the alert is acknowledged, deleted when it is given up. Until then one other entry
    may wait for the outcome.
    """

    rule = models.ForeignKey(
        AlertRule, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    project = models.ForeignKey(
        Project, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    service = models.CharField(max_length=200)
    model = models.CharField(max_length=200)
    anomaly_type = models.CharField(max_length=64)
    window_start = models.DateTimeField()
    entry_id = models.UUIDField()
    waiting_entry_id = models.UUIDField(null=True)
    acknowledged_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["rule", "project", "service", "model", "anomaly_type", "window_start"],
                name="one_alert_per_window",
            )
        ]
        indexes = [
            models.Index(fields=["entry_id"], name="alert_claim_entry"),
            models.Index(fields=["created_at"], name="alert_claim_created"),
        ]

    def __str__(self) -> str:
        return f"{self.service} / {self.model} {self.anomaly_type} {self.window_start:%F %T}"


class DeliveryAttempt(models.Model):
    """One attempt to hand an alert to a channel. Holds the body's hash, never the body, a URL or a secret."""

    entry = models.ForeignKey(OutboxEntry, on_delete=models.CASCADE, related_name="delivery_attempts")
    number = models.IntegerField()
    channel = models.CharField(max_length=20)
    outcome = models.CharField(max_length=12, choices=AttemptOutcome.choices)
    failure_reason = models.CharField(max_length=24, choices=FailureReason.choices, blank=True)
    status_code = models.PositiveSmallIntegerField(null=True)
    seconds = models.FloatField()
    body_sha256 = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["entry", "number"], name="one_delivery_attempt")]

    def __str__(self) -> str:
        return f"{self.entry_id} #{self.number} {self.outcome}"
