"""What people see of an attempt: the phases that it goes through, and no other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection

from ingestion.models import PartitionCursor
from tests.sentinel.pipeline.conftest import Partition, Worker, event


@pytest.fixture
def phases_seen(partition: Partition) -> Iterator[None]:
    """Have PostgreSQL note every phase that stands in a cursor once its transaction has ended."""
    with connection.cursor() as sql:
        sql.execute("""
            CREATE TABLE phase_seen (phase text);
            CREATE FUNCTION note_phase() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN INSERT INTO phase_seen VALUES (NEW.phase); RETURN NULL; END';
            CREATE TRIGGER note_phase AFTER UPDATE ON ingestion_partitioncursor
                FOR EACH ROW EXECUTE FUNCTION note_phase()
        """)
    yield
    with connection.cursor() as sql:
        sql.execute("DROP FUNCTION note_phase CASCADE; DROP TABLE phase_seen")


@pytest.mark.usefixtures("phases_seen")
def test_an_attempt_shows_every_phase_that_a_cursor_can_have_and_no_other(partition: Partition, worker: Worker) -> None:
    partition.append(event(1))
    worker.drain(partition, batch_records=10)
    with connection.cursor() as sql:
        sql.execute("SELECT DISTINCT phase FROM phase_seen WHERE phase <> ''")
        seen = {phase for (phase,) in sql.fetchall()}
    choices = PartitionCursor._meta.get_field("phase").choices
    assert seen == {value for value, _ in choices or ()}
