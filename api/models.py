"""API keys: what a program shows to prove which project it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from api import keys
from ingestion.models import Project

LAST_USED_RESOLUTION = timedelta(minutes=1)


class Scope(models.TextChoices):
    """What a key may do; `admin` includes the other two."""

    INGEST = "ingest", "Send events"
    READ = "read", "Read telemetry, anomalies, baselines and dead letters"
    ADMIN = "admin", "Everything, replaying dead letters included"


class ApiKey(models.Model):
    """A key of one project. Only its SHA-256 is kept, so it can be shown once, when it is made."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100, help_text="Who or what uses it.")
    prefix = models.CharField(max_length=keys.PREFIX_LENGTH, unique=True, editable=False)
    digest = models.BinaryField(max_length=32, editable=False, help_text="SHA-256 of the key.")
    scopes = ArrayField(models.CharField(max_length=10, choices=Scope.choices))
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False, help_text="To the minute.")
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: never.")
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} (sk_sentinel_{self.prefix}_…)"

    def touch(self, now: datetime) -> None:
        """Record that the key was used; writes at most once a minute, also when many processes serve it."""
        before = now - LAST_USED_RESOLUTION
        if self.last_used_at is not None and self.last_used_at > before:
            return
        unused = Q(last_used_at=None) | Q(last_used_at__lte=before)
        ApiKey.objects.filter(unused, pk=self.pk).update(last_used_at=now)


def create_key(
    project: Project,
    *,
    name: str,
    scopes: Sequence[Scope],
    expires_at: datetime | None = None,
) -> tuple[ApiKey, keys.Token]:
    """Store a new key and return it with its token, which nobody can recover later."""
    token = keys.generate()
    key = ApiKey.objects.create(
        project=project,
        name=name,
        prefix=token.prefix,
        digest=token.digest,
        scopes=[scope.value for scope in scopes],
        expires_at=expires_at,
    )
    return key, token
