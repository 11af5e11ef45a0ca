"""The conditions of all partitions, read with one query over any connection to the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Protocol

from ingestion.condition import COLUMNS, UNSEEN_SECONDS, Condition, CursorRow, condition_of

_QUERY = f"SELECT now(), {', '.join(COLUMNS)} FROM ingestion_partitioncursor"
_OPEN = " WHERE closed_at IS NULL"
_ORDER = " ORDER BY topic, partition, id"


class SqlCursor(Protocol):
    """A cursor of Django or of psycopg2."""

    def execute(self, query: str, /) -> Any: ...

    def fetchall(self) -> list[tuple[Any, ...]]: ...


def survey(sql: SqlCursor, *, with_closed: bool = False) -> list[Condition]:
    """Return the condition of every partition by the database's clock; closed ones only where asked for."""
    sql.execute(_QUERY + ("" if with_closed else _OPEN) + _ORDER)
    found = sql.fetchall()
    rows = [CursorRow(**dict(zip(COLUMNS, values, strict=True))) for _, *values in found]
    left = _left_behind(rows)
    return [condition_of(row, now=now, in_use=row.id not in left) for row, (now, *_) in zip(rows, found, strict=True)]


def _left_behind(rows: Sequence[CursorRow]) -> set[int]:
    """Return the cursors whose topic is read from another cluster now: its ends are seen, theirs are not."""
    latest: dict[str, CursorRow] = {}
    for row in rows:
        if row.log_end_at is not None and row.closed_at is None:
            known = latest.get(row.topic)
            if known is None or known.log_end_at is None or row.log_end_at > known.log_end_at:
                latest[row.topic] = row
    return {row.id for row in rows if row.topic in latest and _is_older(row, latest[row.topic])}


def _is_older(row: CursorRow, latest: CursorRow) -> bool:
    assert latest.log_end_at is not None
    behind = latest.log_end_at - (row.log_end_at or row.created_at)
    return row.cluster_id != latest.cluster_id and behind > timedelta(seconds=UNSEEN_SECONDS)
