"""COPY columns of `ingestion.copy_text` into a table, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.db import connection

from ingestion import copy_text

CHUNK_BYTES = 1 << 20


def copy_rows(table: str, columns: Mapping[str, Sequence[str]]) -> None:
    """Copy the rows; raises Django's database errors."""
    names, file = copy_text.render(columns)
    # Django does not translate the errors of what it does not know.
    with connection.cursor() as sql, connection.wrap_database_errors:
        sql.cursor.copy_expert(f"COPY {table} ({', '.join(names)}) FROM STDIN", file, size=CHUNK_BYTES)
