"""Every Prometheus metric of ingestion and storage, declared once.

Labels are bounded: reasons and types are enums, projects, topics and partitions are few; `service`, which senders choose,
goes through `service_label`. Under `PROMETHEUS_MULTIPROC_DIR` each process writes its own file and `/metrics` adds
them up; a gauge shows the value that was set last, by whichever process.

What stands in the database is not counted by a process but read when `/metrics` is asked (`ingestion.gauges`): it is
true whichever process died, and on every host.
"""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily

MAX_LABEL_VALUES = 200
OTHER = "other"


class BoundedLabel:
    """Lets the first `limit` distinct values of a label through; whatever comes later is counted as "other".

    Each process counts for itself, so that /metrics shows at most `limit` values per process.
    """

    def __init__(self, limit: int = MAX_LABEL_VALUES) -> None:
        self._limit = limit
        self._seen: set[str] = set()

    def __call__(self, value: str) -> str:
        """Return `value`, or "other" where too many values were seen before it."""
        if value in self._seen:
            return value
        if len(self._seen) >= self._limit:
            return OTHER
        self._seen.add(value)
        return value


service_label = BoundedLabel()


@dataclass(frozen=True, slots=True)
class ReadGauge:
    """A gauge whose values are read when `/metrics` is asked."""

    name: str
    documentation: str
    labels: tuple[str, ...] = ()

    def family(self) -> GaugeMetricFamily:
        """Return it without samples."""
        return GaugeMetricFamily(self.name, self.documentation, labels=self.labels)


EVENTS_RECEIVED = Counter(
    "sentinel_events_received_total",
    "Records read from the log, whatever became of them (records).",
)
EVENTS_PROCESSED = Counter(
    "sentinel_events_processed_total",
    "Events validated, scrubbed, stored and offered to detection (events).",
    ["service"],
)
EVENTS_DUPLICATE = Counter(
    "sentinel_events_duplicate_total",
    "Events that were stored before and therefore not counted again (events).",
)
EVENTS_LATE = Counter(
    "sentinel_events_late_total",
    "Valid events set aside because their time cannot be stored, by reason (events).",
    ["reason"],
)
INGESTION_ERRORS = Counter(
    "sentinel_ingestion_errors_total",
    "Ranges of the log whose ingestion failed and is tried again, by type (ranges).",
    ["type"],
)
VALIDATION_FAILURES = Counter(
    "sentinel_validation_failures_total",
    "Events rejected by validation, over the log and HTTP, by reason (events).",
    ["reason"],
)
DEAD_LETTERS = Counter(
    "sentinel_dead_letters_total",
    "Records set aside as dead letters, by the stage that rejected them (records).",
    ["stage"],
)
RECORDS_SET_ASIDE = Counter(
    "sentinel_records_set_aside_total",
    "Dead letters that no rule asked for: a stage broke on the record, or it killed its worker, by reason (records).",
    ["reason"],
)
DEAD_LETTERS_OVER_QUOTA = Counter(
    "sentinel_dead_letters_over_quota_total",
    "Rejected records that were only counted: their project had too many within an hour (records).",
)
SCRUBBED = Counter(
    "sentinel_scrubbed_values_total",
    "Personal data and secrets replaced before storage, by type (values).",
    ["type"],
)

KAFKA_MESSAGES_CONSUMED = Counter(
    "sentinel_kafka_messages_consumed_total",
    "Records consumed from Kafka (records).",
)
KAFKA_CONSUMPTION_ERRORS = Counter(
    "sentinel_kafka_consumption_errors_total",
    "Reads and offset requests that Kafka failed to answer (requests).",
)
BRIDGE_DISPATCHES = Counter(
    "sentinel_bridge_dispatches_total",
    "Ranges that the bridge handed to the workers, by reason (ranges).",
    ["reason"],
)
BATCH_SECONDS = Histogram(
    "sentinel_ingest_batch_seconds",
    "Time that one range of the log takes, by phase (seconds).",
    ["phase"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
INGEST_DELAY_SECONDS = Histogram(
    "sentinel_ingest_delay_seconds",
    "From a batch's newest log timestamp to its commit (seconds).",
    buckets=(0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3600),
)

STORAGE_WRITES = Counter(
    "sentinel_storage_writes_total",
    "Rows committed to PostgreSQL, by table (rows).",
    ["table"],
)
STORAGE_ERRORS = Counter(
    "sentinel_storage_errors_total",
    "Transactions that PostgreSQL refused or lost, by type (transactions).",
    ["type"],
)
CACHE_HITS = Counter(
    "sentinel_cache_hits_total",
    "Batches whose baseline state was found in the worker's memory or in Redis (batches).",
)
CACHE_MISSES = Counter(
    "sentinel_cache_misses_total",
    "Batches whose baseline state had to be rebuilt from PostgreSQL (batches).",
)
CACHE_SIZE = Gauge(
    "sentinel_cache_size",
    "Series whose baseline state is cached in Redis, per partition (series).",
    ["topic", "partition"],
    multiprocess_mode="mostrecent",
)

# --- Read from the database (`ingestion.gauges`) ---------------------------------------------------------------------

PARTITIONS_KNOWN = ReadGauge(
    "sentinel_partitions_known",
    "Whether the database told the figures below within two seconds: 1, else 0 and they are absent (truth).",
)
PARTITIONS = ReadGauge(
    "sentinel_partitions",
    "Partitions by state, as `sentinel partitions list` names them (partitions).",
    ("state",),
)
PARTITIONS_HALTED = ReadGauge(
    "sentinel_partitions_halted",
    "Partitions that wait for a person, by reason; each has a runbook (partitions).",
    ("reason",),
)
# All records of a topic belong to one project: its name adds no series.
PARTITION_LABELS = ("project", "topic", "partition")
PARTITION_LAG = ReadGauge(
    "sentinel_partition_lag_records",
    "Records in the log that are not ingested yet, per partition (records).",
    PARTITION_LABELS,
)
PARTITION_STALLED_SECONDS = ReadGauge(
    "sentinel_partition_stalled_seconds",
    "Time without a commit although the log has more; 0 for a partition that is up to date (seconds).",
    PARTITION_LABELS,
)
PARTITION_UNSEEN_SECONDS = ReadGauge(
    "sentinel_partition_unseen_seconds",
    "Time since a bridge or a worker saw the end of the partition's log (seconds).",
    PARTITION_LABELS,
)
PARTITION_HELD_UP_SECONDS = ReadGauge(
    "sentinel_partition_held_up_seconds",
    "Time for which a producer's open transaction has hidden records, once that is long; else 0 (seconds).",
    PARTITION_LABELS,
)
PARTITION_STRIKES = ReadGauge(
    "sentinel_partition_strikes",
    "Deaths of workers that are held against the partition's next records (deaths).",
    PARTITION_LABELS,
)
SCATTERED_SERIES = ReadGauge(
    "sentinel_scattered_series",
    "Series that got events through several partitions within an hour, per topic that has such (series).",
    ("project", "topic"),
)
GAPS = ReadGauge(
    "sentinel_gaps",
    "Gaps: ranges that were never ingested, by reason (ranges).",
    ("reason",),
)
GAP_OFFSETS = ReadGauge(
    "sentinel_gap_offsets",
    "Offsets in gaps, by reason (offsets).",
    ("reason",),
)
DEAD_LETTERS_LAST_HOUR = ReadGauge(
    "sentinel_dead_letters_last_hour",
    "Records set aside as dead letters within the last hour, by reason; counted ones among them (records).",
    ("reason",),
)
DAYS_AHEAD = ReadGauge(
    "sentinel_days_ahead",
    "Days after today that have a partition already, per table; they are made hourly, to three days ahead (days).",
    ("table",),
)
DAYS_MISSING = ReadGauge(
    "sentinel_days_missing",
    "Days from the oldest that is kept to tomorrow without a partition, per table; their events are set aside (days).",
    ("table",),
)
