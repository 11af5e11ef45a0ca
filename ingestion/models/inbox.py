"""The log without Kafka: a table with the same meaning as a topic's partitions."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class InboxPartition(models.Model):
    """The counter row of one partition: whoever appends takes its offsets from here in the same statement."""

    topic = models.CharField(max_length=249)
    partition = models.PositiveIntegerField()
    begin_offset = models.BigIntegerField(default=0)
    end_offset = models.BigIntegerField(default=0)
    # A new one after DROP/CREATE, as Kafka gives a recreated topic a new id.
    topic_id = models.UUIDField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["topic", "partition"], name="one_inbox_partition")]

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]"


class InboxRecord(models.Model):
    """One record of the log; partitioned by the day it was appended (`ingestion.partitions`)."""

    pk = models.CompositePrimaryKey("inbox_partition_id", "log_offset", "appended_at")
    inbox_partition_id = models.BigIntegerField()
    log_offset = models.BigIntegerField()
    appended_at = models.DateTimeField(db_default=Now())
    key = models.BinaryField(null=True)
    value = models.BinaryField()
    headers = models.JSONField(default=list)

    class Meta:
        db_table = "inbox"

    def __str__(self) -> str:
        return f"{self.inbox_partition_id}@{self.log_offset}"
