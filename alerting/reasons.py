"""The closed vocabularies of alerting: each value goes to the row, the log line and the metric label alike."""

from __future__ import annotations

from django.db import models


class EntryStatus(models.TextChoices):
    """Where an outbox entry stands."""

    PENDING = "pending", "Pending"
    CLAIMED = "claimed", "Claimed by a worker"
    DELIVERED = "delivered", "Delivered"
    FAILED = "failed", "Failed"
    SUPPRESSED = "suppressed", "Suppressed"


class SuppressionReason(models.TextChoices):
    """Why an entry is not sent although its rule matched."""

    DUPLICATE_IN_WINDOW = "duplicate_in_window", "Repeat within the rule's window"
    STALE = "stale", "Older than the rule's maximum age"
    RULE_DISABLED = "rule_disabled", "The rule was disabled meanwhile"
    RULE_DELETED = "rule_deleted", "The rule was deleted meanwhile"


class FailureReason(models.TextChoices):
    """Why an attempt to send failed."""

    TIMEOUT = "timeout", "No answer in time"
    DNS = "dns", "The host name cannot be resolved"
    CONNECTION_REFUSED = "connection_refused", "Connection refused"
    CONNECTION_FAILED = "connection_failed", "Connection failed or reset"
    TLS = "tls", "TLS handshake or certificate failed"
    BAD_RESPONSE = "bad_response", "The answer is not HTTP"
    FORBIDDEN_ADDRESS = "forbidden_address", "The address may not be connected to"
    INVALID_TARGET = "invalid_target", "The target's URL or secret is not usable"
    REDIRECT = "redirect", "Redirects are not followed"
    GONE = "gone", "410: the receiver wants no more"
    RATE_LIMITED = "rate_limited", "429: too many requests"
    SERVER_ERROR = "server_error", "The receiver failed"
    CLIENT_ERROR = "client_error", "The receiver rejected the request"
    UNKNOWN_CHANNEL = "unknown_channel", "No such channel in this version"
    ABANDONED = "abandoned", "Workers died or lost their lease too often"
    INTERNAL_ERROR = "internal_error", "An error of ours; see the log"


class AttemptOutcome(models.TextChoices):
    """What an attempt led to."""

    DELIVERED = "delivered", "Delivered"
    RETRY = "retry", "Will be tried again"
    FAILED = "failed", "Failed for good"
