"""Looks for series that arrive through several partitions, each of which learns its part of them alone.

Read from the checkpoints of the baselines, which are one row for each partition and series and are written a minute
after its last events at most: events and roll-ups are never touched.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from django.db import connection

from ingestion.condition import Runbook
from ingestion.scattered_series import ScatteredSeries

logger = structlog.get_logger(__name__)

# Partitions are told apart by number: a topic that was created again has another cursor for the same one.
_LOOK = """
    WITH scattered AS (
        SELECT place.topic, baseline.series_id
        FROM detection_baseline baseline JOIN ingestion_partitioncursor place ON place.id = baseline.cursor_id
        WHERE baseline.updated_at > now() - interval '1 hour' AND place.closed_at IS NULL
        GROUP BY place.topic, baseline.series_id HAVING count(DISTINCT place.partition) > 1
    ), counted AS (
        SELECT topic, count(*) AS series, min(series_id) AS example_id FROM scattered GROUP BY topic
    )
    UPDATE ingestion_topic
    SET scattered_series = coalesce(counted.series, 0), scattered_example_id = counted.example_id, scattered_at = now()
    FROM ingestion_topic known LEFT JOIN counted ON counted.topic = known.name
    WHERE ingestion_topic.id = known.id
    RETURNING ingestion_topic.project_id, ingestion_topic.name, ingestion_topic.scattered_series,
        ingestion_topic.scattered_example_id
"""


def report_scattered() -> Sequence[ScatteredSeries]:
    """Warn of every topic with such series, keep what was found with the topic, and return it. Called by beat."""
    with connection.cursor() as sql:
        sql.execute(_LOOK)
        found = [ScatteredSeries(*row) for row in sorted(sql.fetchall()) if row[2]]
    for item in found:
        logger.warning(
            "series.scattered",
            topic=item.topic,
            series=item.series,
            example_id=item.example_id,
            runbook=Runbook.SERIES_SCATTERED.path,
        )
    return found
