"""The admin of the data path: what is configured can be edited, what the pipeline wrote can be looked at."""

from ingestion.admin.dead_letters import DeadLetterAdmin, LateEventAdmin
from ingestion.admin.events import EventAdmin
from ingestion.admin.partitions import BatchAdmin, GapAdmin, PartitionCursorAdmin
from ingestion.admin.projects import ProjectAdmin, TopicAdmin
from ingestion.admin.series import SeriesAdmin

__all__ = [
    "BatchAdmin",
    "DeadLetterAdmin",
    "EventAdmin",
    "GapAdmin",
    "LateEventAdmin",
    "PartitionCursorAdmin",
    "ProjectAdmin",
    "SeriesAdmin",
    "TopicAdmin",
]
