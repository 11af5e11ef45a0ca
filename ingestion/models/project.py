"""Projects and the topics that feed them."""

from __future__ import annotations

import secrets

from django.conf import settings
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models

DEFAULT_PROJECT_SLUG = "default"


def new_pseudonym_key() -> bytes:
    """Return 32 random bytes: equal personal data in one project keeps equal placeholders, across projects it does not."""
    return secrets.token_bytes(32)


def default_retention_days() -> int:
    return int(settings.SENTINEL_RETENTION_DAYS)


class TextPolicy(models.TextChoices):
    """What is stored of prompt and response after scrubbing."""

    KEEP = "keep", "Keep the scrubbed text"
    TRUNCATE = "truncate", "Keep the first 500 characters"
    DROP = "drop", "Keep no text, only lengths and numbers"


class Project(models.Model):
    """A tenant: every event, series, anomaly, rule and key belongs to exactly one."""

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=200)
    retention_days = models.PositiveSmallIntegerField(
        default=default_retention_days,
        validators=[MinValueValidator(1)],
        help_text="Events and roll-ups older than this are dropped.",
    )
    text_policy = models.CharField(max_length=10, choices=TextPolicy.choices, default=TextPolicy.KEEP)
    keep_embeddings = models.BooleanField(
        default=False,
        help_text="Keep embedding vectors; otherwise only their dimension and norm.",
    )
    pseudonymise = models.BooleanField(
        default=False,
        help_text="Write [EMAIL:b52312d13fb0] instead of [EMAIL], so that equal values can be joined.",
    )
    pseudonym_key = models.BinaryField(max_length=64, default=new_pseudonym_key)
    dead_letters_per_hour = models.PositiveIntegerField(
        default=10_000,
        help_text="Rejected records kept one by one; beyond it every batch keeps one row with their number.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


topic_name = RegexValidator(
    r"\A[a-zA-Z0-9._-]{1,249}\Z",
    "A topic name has 1 to 249 letters, digits, dots, underscores or hyphens.",
)


class Topic(models.Model):
    """A topic of the log; all its records belong to one project."""

    name = models.CharField(max_length=249, unique=True, validators=[topic_name])
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="topics")
    receives_http = models.BooleanField(
        default=False,
        help_text="POST /api/v1/events of the project appends to this topic.",
    )
    # What beat last found (`detection.scattered`).
    scattered_series = models.PositiveIntegerField(
        default=0, db_default=0, editable=False, help_text="Series that arrive through several partitions."
    )
    scattered_example_id = models.BigIntegerField(null=True, editable=False, help_text="The id of one such series.")
    scattered_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["project"],
                condition=models.Q(receives_http=True),
                name="one_http_topic_per_project",
            )
        ]

    def __str__(self) -> str:
        return self.name
