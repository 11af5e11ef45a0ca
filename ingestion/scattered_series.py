"""Series that arrive through several partitions, as beat last found them (`detection.scattered`).

No framework is imported: `sentinel status` has no time to wait for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ingestion.survey import SqlCursor

# Beat looks every ten minutes; without beat nobody knows.
_QUERY = """
    SELECT project_id, name, scattered_series, scattered_example_id FROM ingestion_topic
    WHERE scattered_series > 0 AND scattered_at > now() - interval '1 hour' ORDER BY name
"""


@dataclass(frozen=True, slots=True)
class ScatteredSeries:
    """How many series of a topic got events through more than one partition within an hour, and the id of one."""

    project_id: int
    topic: str
    series: int
    example_id: int

    def __str__(self) -> str:
        what = f"{self.series:,} series of {self.topic} arrive through several partitions"
        return f"{what}, each of which learns them alone, such as series {self.example_id}"


def scattered_series(sql: SqlCursor) -> Sequence[ScatteredSeries]:
    """Return the topics that have such series, by name."""
    sql.execute(_QUERY)
    return [ScatteredSeries(*row) for row in sql.fetchall()]
