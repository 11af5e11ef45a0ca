"""What the database says for `sentinel status`: without Django, whose start takes longer than the answer may."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ingestion.condition import Condition
from ingestion.missing_days import MissingDay, missing_days
from ingestion.scattered_series import ScatteredSeries, scattered_series
from ingestion.survey import survey

TIMEOUT_SECONDS = 1.5


class DatabaseAway(Exception):
    """PostgreSQL did not tell; the message says why, and holds no password."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The condition of every open partition of the log, the days that tables lack, and series that are scattered."""

    conditions: Sequence[Condition]
    missing_days: Sequence[MissingDay]
    scattered: Sequence[ScatteredSeries]

    @property
    def is_well(self) -> bool:
        """Tell whether no partition is stuck or halted and no day is missing."""
        return not self.missing_days and not any(item.is_alarming for item in self.conditions)


def read_partitions(database_url: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> Reading:
    """Return what the database says; raise `DatabaseAway` within about `timeout_seconds`."""
    found: list[Reading] = []
    failed: list[DatabaseAway] = []

    def read() -> None:
        try:
            found.append(_read(database_url, timeout_seconds=timeout_seconds))
        except DatabaseAway as error:
            failed.append(error)

    # libpq waits two seconds at least for a server that hangs; nobody waits for this thread.
    thread = threading.Thread(target=read, name="partitions", daemon=True)
    thread.start()
    thread.join(timeout_seconds)
    if failed:
        raise failed[0]
    if not found:
        raise DatabaseAway(f"no answer within {timeout_seconds:g} s")
    return found[0]


def _read(database_url: str, *, timeout_seconds: float) -> Reading:
    import psycopg2
    from psycopg2 import errors
    from psycopg2.extensions import parse_dsn

    try:
        parameters: dict[str, Any] = {"dbname": "sentinel", **parse_dsn(database_url)}
    except psycopg2.ProgrammingError:
        raise DatabaseAway("DATABASE_URL is no postgresql:// URL") from None  # its text would show the password
    limits = f"-c statement_timeout={round(timeout_seconds * 1000)} -c default_transaction_read_only=on"
    parameters |= {"connect_timeout": 2, "options": limits, "application_name": "sentinel-status"}
    try:
        connection = psycopg2.connect(**parameters)
        try:
            with connection.cursor() as sql:
                return Reading(survey(sql), missing_days(sql), scattered_series(sql))
        finally:
            connection.close()
    except (errors.UndefinedTable, errors.UndefinedColumn):
        raise DatabaseAway("the database is older than this version; `sentinel up` brings it up to date") from None
    except psycopg2.Error as error:
        raise DatabaseAway(str(error).strip().split("\n", 1)[0] or type(error).__name__) from error
