"""The tables partitioned by day. Django's schema editor knows no partitions, so their SQL is written out.

Partitions themselves are made by `ingestion.partitions.ensure_partitions`.
"""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

EVENTS = """
CREATE TABLE events (
    event_id uuid NOT NULL,
    project_id bigint NOT NULL,
    timestamp timestamptz NOT NULL,
    ingested_at timestamptz NOT NULL DEFAULT now(),
    cursor_id bigint NOT NULL,
    log_offset bigint NOT NULL,
    scored boolean NOT NULL,
    service text NOT NULL,
    model text NOT NULL,
    provider text,
    operation text,
    requested_model text,
    response_model text,
    environment text,
    latency_ms double precision NOT NULL,
    ttft_ms double precision,
    prompt_tokens bigint,
    completion_tokens bigint,
    total_tokens bigint,
    cached_tokens bigint,
    cache_write_tokens bigint,
    reasoning_tokens bigint,
    token_source text,
    cost_usd double precision,
    cost_source text,
    sample_weight double precision NOT NULL DEFAULT 1,
    has_errors boolean NOT NULL,
    errors jsonb,
    finish_reason text,
    trace_id text,
    span_id text,
    parent_span_id text,
    session_id text,
    user_id text,
    prompt_template_id text,
    prompt_template_version text,
    response_id text,
    sdk_name text,
    sdk_version text,
    content_mode text,
    prompt_text text,
    prompt_length integer,
    prompt_sha256 bytea,
    prompt_embedding jsonb,
    response_text text,
    response_length integer,
    response_sha256 bytea,
    response_embedding jsonb,
    metadata jsonb,
    features jsonb,
    tool_calls jsonb,
    retrieved_context jsonb,
    pii jsonb,
    flags jsonb
) PARTITION BY RANGE (timestamp);
-- event_id leads, so that the identity also answers a look-up by id alone.
CREATE UNIQUE INDEX events_identity ON events (event_id, project_id, timestamp);
CREATE INDEX events_series ON events (project_id, service, model, timestamp DESC);
CREATE INDEX events_ingested ON events USING brin (ingested_at) WITH (autosummarize = on);
"""

ROLLUPS = """
CREATE TABLE metric_rollup (
    cursor_id bigint NOT NULL,
    series_id bigint NOT NULL,
    window_start timestamptz NOT NULL,
    events bigint NOT NULL DEFAULT 0,
    weight numeric(40, 6) NOT NULL DEFAULT 0,
    errors bigint NOT NULL DEFAULT 0,
    late_events bigint NOT NULL DEFAULT 0,
    latency_count bigint NOT NULL DEFAULT 0,
    latency_sum numeric(40, 3) NOT NULL DEFAULT 0,
    latency_min double precision,
    latency_max double precision,
    latency_sketch bytea,
    ttft_count bigint NOT NULL DEFAULT 0,
    ttft_sum numeric(40, 3) NOT NULL DEFAULT 0,
    ttft_sketch bytea,
    tokens_count bigint NOT NULL DEFAULT 0,
    prompt_tokens_sum bigint NOT NULL DEFAULT 0,
    completion_tokens_sum bigint NOT NULL DEFAULT 0,
    tokens_sketch bytea,
    cost_count bigint NOT NULL DEFAULT 0,
    cost_sum numeric(40, 9) NOT NULL DEFAULT 0,
    cost_sketch bytea,
    PRIMARY KEY (series_id, window_start, cursor_id)
) PARTITION BY RANGE (window_start);
"""

INBOX = """
CREATE TABLE inbox (
    inbox_partition_id bigint NOT NULL,
    log_offset bigint NOT NULL,
    appended_at timestamptz NOT NULL DEFAULT now(),
    key bytea,
    value bytea NOT NULL,
    headers jsonb NOT NULL DEFAULT '[]',
    PRIMARY KEY (inbox_partition_id, log_offset, appended_at)
) PARTITION BY RANGE (appended_at);
"""


class Migration(migrations.Migration):
    dependencies = [("ingestion", "0001_initial")]

    operations = [
        migrations.RunSQL(
            sql=[EVENTS, ROLLUPS, INBOX],
            reverse_sql=[
                "DROP TABLE inbox",
                "DROP TABLE metric_rollup",
                "DROP TABLE events",
            ],
            state_operations=[
                migrations.CreateModel(
                    name="Event",
                    fields=[
                        (
                            "event_id",
                            models.UUIDField(primary_key=True, serialize=False),
                        ),
                        (
                            "timestamp",
                            models.DateTimeField(help_text="When the call ended, UTC."),
                        ),
                        ("ingested_at", models.DateTimeField()),
                        ("cursor_id", models.BigIntegerField()),
                        ("log_offset", models.BigIntegerField()),
                        (
                            "scored",
                            models.BooleanField(
                                help_text="False: neither scored nor learned, the series cap was reached."
                            ),
                        ),
                        ("service", models.CharField(max_length=200)),
                        (
                            "model",
                            models.CharField(
                                help_text="As requested, without the provider's prefix.",
                                max_length=200,
                            ),
                        ),
                        ("provider", models.CharField(max_length=64, null=True)),
                        ("operation", models.CharField(max_length=64, null=True)),
                        (
                            "requested_model",
                            models.CharField(max_length=200, null=True),
                        ),
                        ("response_model", models.CharField(max_length=200, null=True)),
                        ("environment", models.CharField(max_length=64, null=True)),
                        ("latency_ms", models.FloatField()),
                        (
                            "ttft_ms",
                            models.FloatField(help_text="Time to first token.", null=True),
                        ),
                        ("prompt_tokens", models.BigIntegerField(null=True)),
                        ("completion_tokens", models.BigIntegerField(null=True)),
                        (
                            "total_tokens",
                            models.BigIntegerField(
                                help_text="Null where either part is unknown.",
                                null=True,
                            ),
                        ),
                        ("cached_tokens", models.BigIntegerField(null=True)),
                        ("cache_write_tokens", models.BigIntegerField(null=True)),
                        ("reasoning_tokens", models.BigIntegerField(null=True)),
                        ("token_source", models.CharField(max_length=16, null=True)),
                        (
                            "cost_usd",
                            models.FloatField(help_text="Null is unknown, not free.", null=True),
                        ),
                        ("cost_source", models.CharField(max_length=16, null=True)),
                        ("sample_weight", models.FloatField(default=1.0)),
                        ("has_errors", models.BooleanField()),
                        ("errors", models.JSONField(null=True)),
                        ("finish_reason", models.CharField(max_length=64, null=True)),
                        ("trace_id", models.CharField(max_length=128, null=True)),
                        ("span_id", models.CharField(max_length=128, null=True)),
                        ("parent_span_id", models.CharField(max_length=128, null=True)),
                        ("session_id", models.CharField(max_length=200, null=True)),
                        (
                            "user_id",
                            models.CharField(help_text="A keyed pseudonym.", max_length=64, null=True),
                        ),
                        (
                            "prompt_template_id",
                            models.CharField(max_length=200, null=True),
                        ),
                        (
                            "prompt_template_version",
                            models.CharField(max_length=64, null=True),
                        ),
                        ("response_id", models.CharField(max_length=200, null=True)),
                        ("sdk_name", models.CharField(max_length=64, null=True)),
                        ("sdk_version", models.CharField(max_length=64, null=True)),
                        ("content_mode", models.CharField(max_length=16, null=True)),
                        ("prompt_text", models.TextField(null=True)),
                        (
                            "prompt_length",
                            models.IntegerField(help_text="Characters before the cut.", null=True),
                        ),
                        (
                            "prompt_sha256",
                            models.BinaryField(
                                help_text="Of the original, where it was cut.",
                                null=True,
                            ),
                        ),
                        (
                            "prompt_embedding",
                            models.JSONField(
                                help_text="Dimension and norm, or the vector if the project keeps it.",
                                null=True,
                            ),
                        ),
                        ("response_text", models.TextField(null=True)),
                        ("response_length", models.IntegerField(null=True)),
                        ("response_sha256", models.BinaryField(null=True)),
                        ("response_embedding", models.JSONField(null=True)),
                        ("metadata", models.JSONField(null=True)),
                        ("features", models.JSONField(null=True)),
                        ("tool_calls", models.JSONField(null=True)),
                        ("retrieved_context", models.JSONField(null=True)),
                        (
                            "pii",
                            models.JSONField(
                                help_text="Counts of what was scrubbed, by type.",
                                null=True,
                            ),
                        ),
                        (
                            "flags",
                            models.JSONField(help_text="Limits that the event exceeds.", null=True),
                        ),
                        (
                            "project",
                            models.ForeignKey(
                                db_index=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="+",
                                to="ingestion.project",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "events",
                        "ordering": ["-timestamp"],
                    },
                ),
                migrations.CreateModel(
                    name="InboxRecord",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "inbox_partition_id",
                                "log_offset",
                                "appended_at",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("inbox_partition_id", models.BigIntegerField()),
                        ("log_offset", models.BigIntegerField()),
                        (
                            "appended_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                        ),
                        ("key", models.BinaryField(null=True)),
                        ("value", models.BinaryField()),
                        ("headers", models.JSONField(default=list)),
                    ],
                    options={
                        "db_table": "inbox",
                    },
                ),
                migrations.CreateModel(
                    name="MetricRollup",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "cursor_id",
                                "series_id",
                                "window_start",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("window_start", models.DateTimeField()),
                        ("events", models.BigIntegerField()),
                        (
                            "weight",
                            models.DecimalField(
                                decimal_places=6,
                                help_text="Sum of sample weights: what `events` stands for.",
                                max_digits=40,
                            ),
                        ),
                        ("errors", models.BigIntegerField()),
                        (
                            "late_events",
                            models.BigIntegerField(
                                help_text="Older than the partition's watermark allowed; not scored."
                            ),
                        ),
                        ("latency_count", models.BigIntegerField()),
                        ("latency_sum", models.DecimalField(decimal_places=3, max_digits=40)),
                        ("latency_min", models.FloatField(null=True)),
                        ("latency_max", models.FloatField(null=True)),
                        ("latency_sketch", models.BinaryField(null=True)),
                        ("ttft_count", models.BigIntegerField()),
                        ("ttft_sum", models.DecimalField(decimal_places=3, max_digits=40)),
                        ("ttft_sketch", models.BinaryField(null=True)),
                        ("tokens_count", models.BigIntegerField()),
                        ("prompt_tokens_sum", models.BigIntegerField()),
                        ("completion_tokens_sum", models.BigIntegerField()),
                        ("tokens_sketch", models.BinaryField(null=True)),
                        ("cost_count", models.BigIntegerField()),
                        ("cost_sum", models.DecimalField(decimal_places=9, max_digits=40)),
                        ("cost_sketch", models.BinaryField(null=True)),
                        (
                            "cursor",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="+",
                                to="ingestion.partitioncursor",
                            ),
                        ),
                        (
                            "series",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="+",
                                to="ingestion.series",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "metric_rollup",
                    },
                ),
            ],
        ),
    ]
