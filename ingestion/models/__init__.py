"""Tables of the data path. `Project` is the owner of everything else."""

from ingestion.models.batch import Batch, ExpiredRows, Gap, GapReason
from ingestion.models.cursor import HaltReason, PartitionCursor
from ingestion.models.dead_letter import DeadLetter, LateEvent
from ingestion.models.event import Event
from ingestion.models.inbox import InboxPartition, InboxRecord
from ingestion.models.project import Project, Topic
from ingestion.models.series import MetricRollup, Series

__all__ = [
    "Batch",
    "DeadLetter",
    "Event",
    "ExpiredRows",
    "Gap",
    "GapReason",
    "HaltReason",
    "InboxPartition",
    "InboxRecord",
    "LateEvent",
    "MetricRollup",
    "PartitionCursor",
    "Project",
    "Series",
    "Topic",
]
