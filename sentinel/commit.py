"""The transaction of a range, and what became of it where the answer to COMMIT was lost."""

from __future__ import annotations

from dataclasses import replace

import structlog
from django.db import DatabaseError, InterfaceError, connection, transaction

from detection.baselines import BaselineStore
from ingestion import cursor as cursors
from ingestion.batches import BatchStamp
from ingestion.failpoint import failpoint
from ingestion.models import Batch, PartitionCursor
from sentinel.bisection import Unproven
from sentinel.ingested import Committed
from sentinel.outcome import Overtaken, described
from sentinel.write import Work, write

logger = structlog.get_logger(__name__)


def commit(work: Work, baselines: BaselineStore, *, needs_proof: bool = False) -> Committed:
    """Write the range in one transaction and return what it did.

    Raises `Overtaken` where the cursor has moved, `Unproven` where `needs_proof` and no event is new, and what the
    stages raise; then nothing is written.
    """
    failpoint("before_transaction")
    committed: Committed | None = None
    try:
        with connection.wrap_database_errors, transaction.atomic():
            position = cursors.lock_position(work.cursor.pk)
            if position.next_offset != work.task.start or position.halted_reason:
                raise Overtaken
            failpoint("after_lock_position")
            written = write(work, position, baselines)
            if needs_proof and not written.counts.stored:
                raise Unproven(f"no event of [{work.task.start}, {work.prepared.chunk.next_offset}) is new")
            failpoint("before_commit")
            committed = written
    except (DatabaseError, InterfaceError) as error:
        # From the last statement on nobody knows what became of the transaction.
        if committed is None or not _has_landed(work, committed):
            raise
        logger.warning("ingest.commit_unanswered", cursor=work.cursor.pk, start=work.task.start, error=described(error))
        committed = replace(committed, lost_lock=True)
    return committed


def _has_landed(work: Work, committed: Committed) -> bool:
    """Tell whether the batch row of this very attempt is there; waits for its transaction, should that still run."""
    if not connection.is_usable():
        connection.close()
    with transaction.atomic():
        PartitionCursor.objects.select_for_update().filter(pk=work.cursor.pk).values_list("next_offset").get()
        found = Batch.objects.filter(pk=committed.stamp.batch_id, cursor=work.cursor).first()
    return found is not None and BatchStamp.of(found) == committed.stamp
