"""The only truth about how far a partition of the log has been ingested."""

from __future__ import annotations

from django.db import models

from ingestion.models.project import Project


class Phase(models.TextChoices):
    """The stages of a range, as its dead letters and its times name them."""

    READ = "read"
    DECODE = "decode"
    SCRUB = "scrub"
    STORE = "store"
    DETECT = "detect"


# What an attempt says that it does. Detection runs inside the transaction of STORE: nobody would see its own mark before
# that has committed.
MARKED_PHASES = (Phase.READ, Phase.DECODE, Phase.SCRUB, Phase.STORE)


class HaltReason(models.TextChoices):
    """Why a partition waits for a person; each has a page of its own in `docs/runbooks/`."""

    LOG_REPLACED = "log_replaced", "The log holds other records than those that were ingested"
    OTHER_CLUSTER = "other_cluster", "The brokers belong to another Kafka cluster"
    BEYOND_END = "beyond_end", "The cursor stands beyond the end of the log"
    POISONED_BUILD = "poisoned_build", "A worker dies on a record, and its build has ingested nothing since"
    UNEXPLAINED_DEATHS = "unexplained_deaths", "Workers die on one record, and nothing proves that it is the record"
    BAD_DEPLOY = "bad_deploy", "A new build rejects far more records than the one before it"
    EVENTS_MISSING = "events_missing", "Stored events that the baselines are rebuilt from are gone"
    CONFIG_MISSING = "config_missing", "The configuration that a batch was scored with is gone"


class PartitionCursor(models.Model):
    """Position, current attempt and suspicion of one partition.

    Every write to the attempt fields is a compare-and-set on (`next_offset`, `attempt`). An attempt is alive exactly
    while its worker holds the session advisory lock of this row.
    """

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="cursors")
    # Offsets alone do not identify records: a recreated topic or another cluster answers at the same offset.
    cluster_id = models.CharField(max_length=64)
    topic_id = models.CharField(max_length=64)
    topic = models.CharField(max_length=249)
    partition = models.PositiveIntegerField()
    next_offset = models.BigIntegerField(default=0)

    attempt = models.BigIntegerField(default=0)
    dispatched_end = models.BigIntegerField(null=True)
    dispatched_at = models.DateTimeField(null=True)
    range_since = models.DateTimeField(null=True, help_text="When the current range was handed out first.")
    dispatches = models.PositiveIntegerField(default=0, help_text="How often the current range was dispatched.")
    unstarted = models.PositiveIntegerField(
        default=0, db_default=0, help_text="How many attempts nobody began or gave up."
    )
    started_at = models.DateTimeField(null=True)
    ended_attempt = models.BigIntegerField(default=0, help_text="The last attempt that ended by any path but death.")
    phase = models.CharField(
        max_length=10,
        choices=[(phase.value, phase.label) for phase in MARKED_PHASES],
        blank=True,
        help_text="What the current attempt was doing when it last said so; store takes in detection.",
    )
    retry_at = models.DateTimeField(null=True, help_text="Not dispatched before: the last attempt failed or was busy.")
    last_error = models.CharField(max_length=300, blank=True)
    backend_pid = models.IntegerField(null=True)
    backend_start = models.DateTimeField(null=True)
    worker = models.CharField(max_length=128, blank=True, help_text="Host and process of the current attempt.")
    build = models.CharField(max_length=80, blank=True, help_text="The worker's build in the current attempt.")
    death_signal = models.PositiveSmallIntegerField(
        null=True, help_text="What ended the process of the current attempt, as its parent saw it."
    )

    # Suspicion: some record of [next_offset, suspect_end) killed its worker or broke a stage (`ingestion.suspicion`).
    suspect_end = models.BigIntegerField(null=True)
    suspected_at = models.DateTimeField(null=True)
    suspected_build = models.CharField(max_length=80, blank=True)
    strikes = models.PositiveSmallIntegerField(default=0, help_text="Deaths within the suspected range.")
    lone_strikes = models.PositiveSmallIntegerField(
        default=0, help_text="Deaths by a signal that a record can cause, on the one record at next_offset."
    )
    lone_doubts = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="How many of those were SIGKILL, which the kernel sends to anybody."
    )
    lone_deaths = models.PositiveSmallIntegerField(
        default=0, help_text="Deaths that nobody saw the cause of, on the one record at next_offset."
    )
    spared_at = models.DateTimeField(
        null=True, help_text="When suspected records last committed after all: their worker had died of something else."
    )
    condemned_offset = models.BigIntegerField(
        null=True, help_text="This record is set aside unread: it has killed its worker three times alone."
    )

    halted_because = models.CharField(max_length=20, choices=HaltReason.choices, blank=True)
    halted_reason = models.CharField(max_length=300, blank=True)
    halted_at = models.DateTimeField(null=True)
    # What a person has decided when resuming.
    trusted_batch_id = models.BigIntegerField(null=True, help_text="The log is not compared with this batch's anchor.")
    accepted_build = models.CharField(max_length=80, blank=True, help_text="Its rejects halt nothing.")
    closed_at = models.DateTimeField(
        null=True, help_text="The log no longer has this partition; a gap says what is lost."
    )

    # The log's end as a bridge or worker last saw it: what people see of the lag needs no broker.
    log_end = models.BigIntegerField(default=0)
    log_end_at = models.DateTimeField(null=True)
    # A producer's transaction that stays open hides what was written from there on, whoever wrote it
    # (`ingestion.open_transactions`). True as long as `log_end` has not passed the offset.
    held_up_since = models.DateTimeField(null=True, help_text="Since when an open transaction hides records.")
    held_up_offset = models.BigIntegerField(null=True, help_text="The first offset that an open transaction hides.")
    held_up_end = models.BigIntegerField(null=True, help_text="Behind the last record that was written by then.")

    stage_batches = models.PositiveSmallIntegerField(
        default=0,
        help_text="Batches that still go through the staging table, after a duplicate was met.",
    )
    # The largest min(event time, log time) seen: window detectors wait for it.
    watermark = models.DateTimeField(null=True)
    progressed_at = models.DateTimeField(auto_now_add=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["topic", "partition"]
        constraints = [
            models.UniqueConstraint(
                fields=["cluster_id", "topic_id", "partition"],
                name="one_cursor_per_partition",
            )
        ]

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]"

    @property
    def has_open_attempt(self) -> bool:
        """Whether a range was handed out and has not ended, as far as anybody has said."""
        return self.ended_attempt < self.attempt
