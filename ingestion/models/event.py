"""One LLM call."""

from __future__ import annotations

from django.db import models

from ingestion.models.project import Project


class Event(models.Model):
    """A stored, scrubbed telemetry event; partitioned by day on `timestamp`.

    Identity is (project, event_id, timestamp). Django sees `event_id` as the primary key because its admin refuses
    composite ones; queries that must not meet another project's row name the project as well.
    """

    event_id = models.UUIDField(primary_key=True)
    project = models.ForeignKey(Project, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    timestamp = models.DateTimeField(help_text="When the call ended, UTC.")
    ingested_at = models.DateTimeField()
    cursor_id = models.BigIntegerField()
    log_offset = models.BigIntegerField()
    scored = models.BooleanField(help_text="False: neither scored nor learned, the series cap was reached.")

    service = models.CharField(max_length=200)
    model = models.CharField(max_length=200, help_text="As requested, without the provider's prefix.")
    provider = models.CharField(max_length=64, null=True)
    operation = models.CharField(max_length=64, null=True)
    requested_model = models.CharField(max_length=200, null=True)
    response_model = models.CharField(max_length=200, null=True)
    environment = models.CharField(max_length=64, null=True)

    latency_ms = models.FloatField()
    ttft_ms = models.FloatField(null=True, help_text="Time to first token.")
    prompt_tokens = models.BigIntegerField(null=True)
    completion_tokens = models.BigIntegerField(null=True)
    total_tokens = models.BigIntegerField(null=True, help_text="Null where either part is unknown.")
    cached_tokens = models.BigIntegerField(null=True)
    cache_write_tokens = models.BigIntegerField(null=True)
    reasoning_tokens = models.BigIntegerField(null=True)
    token_source = models.CharField(max_length=16, null=True)
    cost_usd = models.FloatField(null=True, help_text="Null is unknown, not free.")
    cost_source = models.CharField(max_length=16, null=True)
    sample_weight = models.FloatField(default=1.0)

    has_errors = models.BooleanField()
    errors = models.JSONField(null=True)
    finish_reason = models.CharField(max_length=64, null=True)
    trace_id = models.CharField(max_length=128, null=True)
    span_id = models.CharField(max_length=128, null=True)
    parent_span_id = models.CharField(max_length=128, null=True)
    session_id = models.CharField(max_length=200, null=True)
    user_id = models.CharField(max_length=64, null=True, help_text="A keyed pseudonym.")
    prompt_template_id = models.CharField(max_length=200, null=True)
    prompt_template_version = models.CharField(max_length=64, null=True)
    response_id = models.CharField(max_length=200, null=True)
    sdk_name = models.CharField(max_length=64, null=True)
    sdk_version = models.CharField(max_length=64, null=True)

    content_mode = models.CharField(max_length=16, null=True)
    prompt_text = models.TextField(null=True)
    prompt_length = models.IntegerField(null=True, help_text="Characters before the cut.")
    prompt_sha256 = models.BinaryField(null=True, help_text="Of the original, where it was cut.")
    prompt_embedding = models.JSONField(
        null=True,
        help_text="Dimension and norm, or the vector if the project keeps it.",
    )
    response_text = models.TextField(null=True)
    response_length = models.IntegerField(null=True)
    response_sha256 = models.BinaryField(null=True)
    response_embedding = models.JSONField(null=True)
    metadata = models.JSONField(null=True)
    features = models.JSONField(null=True)
    tool_calls = models.JSONField(null=True)
    retrieved_context = models.JSONField(null=True)
    pii = models.JSONField(null=True, help_text="Counts of what was scrubbed, by type.")
    flags = models.JSONField(null=True, help_text="Limits that the event exceeds.")

    class Meta:
        db_table = "events"
        ordering = ["-timestamp"]

    def __str__(self) -> str:
        return str(self.event_id)
