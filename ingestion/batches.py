"""Write the audit row of a range."""

from __future__ import annotations

from dataclasses import dataclass

from ingestion.log.base import Anchor
from ingestion.models import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of the offsets of a range; they add up to its width."""

    stored: int
    duplicates: int
    rejected: int
    late: int
    control: int
    anomalies: int
    unknown_fields: int


def write_batch(
    *,
    cursor_id: int,
    attempt: int,
    start: int,
    end: int,
    counts: Counts,
    anchor: Anchor | None,
    config_version: int,
    worker_build: str,
) -> int:
    """Insert the row inside the ingest transaction; return its id, which stamps the state."""
    row = Batch.objects.create(
        cursor_id=cursor_id,
        attempt=attempt,
        start_offset=start,
        end_offset=end,
        stored=counts.stored,
        duplicates=counts.duplicates,
        rejected=counts.rejected,
        late=counts.late,
        control=counts.control,
        anomalies=counts.anomalies,
        unknown_fields=counts.unknown_fields,
        anchor_offset=anchor.offset if anchor else None,
        anchor_timestamp_ms=anchor.timestamp_ms if anchor else None,
        anchor_crc=anchor.crc if anchor else None,
        config_version=config_version,
        worker_build=worker_build,
    )
    return int(row.pk)
