"""What an open transaction hides, kept on the cursors for people who look; cleared once it has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.db import connection

from ingestion.membership import Key
from ingestion.models import PartitionCursor
from ingestion.open_transactions import HeldUp

# Several bridges see the same transaction, each since it began to look: the first to have seen it is right. A row that
# somebody works on is left out: a worker does not wait for a row lock, it gives up.
_REMEMBER = """
    UPDATE ingestion_partitioncursor
    SET held_up_since = CASE
            WHEN seen.held_up_offset IS NULL THEN NULL
            WHEN ingestion_partitioncursor.held_up_offset = seen.held_up_offset
                THEN least(held_up_since, now() - make_interval(secs => seen.seconds))
            ELSE now() - make_interval(secs => seen.seconds)
        END,
        held_up_offset = seen.held_up_offset, held_up_end = seen.held_up_end
    FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::float8[])
        AS seen (id, held_up_offset, held_up_end, seconds)
    WHERE ingestion_partitioncursor.id IN (
        SELECT id FROM ingestion_partitioncursor
        WHERE id = ANY(%s) AND (started_at IS NULL OR ended_attempt >= attempt)
        ORDER BY id FOR UPDATE SKIP LOCKED
    ) AND ingestion_partitioncursor.id = seen.id
"""

_NOTHING = (None, None, None)


def remember_held_up(rows: Sequence[PartitionCursor], found: Mapping[Key, HeldUp], *, ends: Mapping[Key, int]) -> None:
    """Keep what is overdue of `found`, and clear what has ended; a partition without an end is left as it is."""
    seen: list[tuple[int, int | None, int | None, float | None]] = []
    for row in rows:
        key = (row.topic, row.partition)
        held_up = found.get(key)
        if held_up is not None and held_up.is_overdue:
            seen.append((row.pk, held_up.offset, held_up.end, held_up.seconds))
        elif key in ends and _has_ended(row, held_up):
            seen.append((row.pk, *_NOTHING))
    if seen:
        with connection.cursor() as sql:
            sql.execute(_REMEMBER, [*map(list, zip(*seen, strict=True)), [pk for pk, *_ in seen]])


def _has_ended(row: PartitionCursor, held_up: HeldUp | None) -> bool:
    """Tell whether the transaction that the row names is over: the end of the log has moved, or hides nothing."""
    return row.held_up_offset is not None and (held_up is None or held_up.offset != row.held_up_offset)
