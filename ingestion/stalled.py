"""The safety net under the bridges' own alarms: partitions that stand, and those that no bridge looks at."""

from __future__ import annotations

import structlog
from django.db import connection

from ingestion.condition import Condition
from ingestion.survey import survey

logger = structlog.get_logger(__name__)


def report_stalled() -> list[Condition]:
    """Log every partition that is stuck or halted as an error; return them. Called by beat every 30 seconds."""
    with connection.cursor() as sql:
        alarming = [condition for condition in survey(sql) if condition.is_alarming]
    for condition in alarming:
        logger.error(
            "partition.stalled",
            partition=condition.name,
            state=condition.state,
            lag=condition.lag,
            since=condition.since.isoformat(),
            why=condition.why,
            runbook=condition.runbook.path,
        )
    return alarming
