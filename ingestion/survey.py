"""The conditions of all partitions, read with one query over any connection to the database."""

from __future__ import annotations

from typing import Any, Protocol

from ingestion.condition import COLUMNS, UNSEEN_SECONDS, Condition, CursorRow, condition_of

# Whether a cursor's log is the one that its topic is read from: the ends of another cluster's are seen, its own are not.
IN_USE = f"""
    NOT EXISTS (
        SELECT FROM ingestion_partitioncursor other
        WHERE other.topic = ingestion_partitioncursor.topic AND other.closed_at IS NULL
          AND other.cluster_id <> ingestion_partitioncursor.cluster_id
          AND other.log_end_at > coalesce(ingestion_partitioncursor.log_end_at, ingestion_partitioncursor.created_at)
              + interval '{UNSEEN_SECONDS} s'
    )
"""
_QUERY = f"SELECT now(), {IN_USE}, {', '.join(COLUMNS)} FROM ingestion_partitioncursor"
_OPEN = " WHERE closed_at IS NULL"
_ORDER = " ORDER BY topic, partition, id"


class SqlCursor(Protocol):
    """A cursor of Django or of psycopg2."""

    def execute(self, query: str, /) -> Any: ...

    def fetchall(self) -> list[tuple[Any, ...]]: ...


def survey(sql: SqlCursor, *, with_closed: bool = False) -> list[Condition]:
    """Return the condition of every partition by the database's clock; closed ones only where asked for."""
    sql.execute(_QUERY + ("" if with_closed else _OPEN) + _ORDER)
    return [
        condition_of(CursorRow(**dict(zip(COLUMNS, values, strict=True))), now=now, in_use=in_use)
        for now, in_use, *values in sql.fetchall()
    ]
