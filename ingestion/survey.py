"""The conditions of all partitions, read with one query over any connection to the database."""

from __future__ import annotations

from typing import Any, Protocol

from ingestion.condition import COLUMNS, Condition, CursorRow, condition_of

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
    return [
        condition_of(CursorRow(**dict(zip(COLUMNS, values, strict=True))), now=now) for now, *values in sql.fetchall()
    ]
