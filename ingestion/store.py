"""Store the events of one range: COPY in the order of their identity, duplicates left out.

Two partitions with the same keys deadlock when rows go in by offset, never when they go in by key. Where no duplicate
is expected the rows are copied straight into the table inside a savepoint; one duplicate fails that as a whole, and
the range goes through a staging table instead, as do the partition's next fifty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import msgspec
import numpy as np
from django.db import connection, transaction
from django.db.utils import IntegrityError
from psycopg2.errorcodes import CHECK_VIOLATION, UNIQUE_VIOLATION

from ingestion import copy_text
from ingestion.copy_rows import copy_rows
from ingestion.copy_text import Column
from ingestion.event_batch import EventBatch
from ingestion.failpoint import failpoint
from ingestion.models.project import Project, TextPolicy
from ingestion.partitions import PartitionMissing

STAGED_BATCHES_AFTER_DUPLICATE = 50
TRUNCATED_CHARACTERS = 500

_STAGING = "CREATE TEMP TABLE IF NOT EXISTS event_staging (LIKE events INCLUDING DEFAULTS) ON COMMIT DELETE ROWS"
_FROM_STAGING = """
    INSERT INTO events SELECT * FROM event_staging ORDER BY project_id, timestamp, event_id, log_offset
    ON CONFLICT DO NOTHING RETURNING log_offset
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """Which events of the batch are new, as positions in offset order, and whether a duplicate was met."""

    new: Sequence[int]
    met_duplicate: bool


def store_events(
    batch: EventBatch, *, cursor_id: int, project: Project, scored: Sequence[bool], expect_duplicates: bool
) -> Stored:
    """Insert the batch inside the caller's transaction.

    Raises `PartitionMissing` for a day without a partition; the transaction is then broken.
    """
    order = _identity_order(batch)
    if not order:
        return Stored([], met_duplicate=False)
    rows = _columns(
        batch.take(order), cursor_id=cursor_id, project=project, scored=[scored[position] for position in order]
    )
    failpoint("before_copy")
    if not expect_duplicates and len(order) == len(batch) and _copied_straight(rows):
        failpoint("after_copy")
        return Stored(range(len(batch)), met_duplicate=False)
    stored = _stage(rows)
    failpoint("after_copy")
    new = [position for position, offset in enumerate(batch.offsets) if offset in stored]
    return Stored(new, met_duplicate=len(new) < len(batch))


def _identity_order(batch: EventBatch) -> list[int]:
    """Return positions by (timestamp, event id, offset), of each identity only the first in the log."""
    accepted = batch.accepted
    keys = [(item.timestamp_us, item.event_id.int, position) for position, item in enumerate(accepted)]
    keys.sort()
    order = []
    previous: tuple[int, int] | None = None
    for timestamp_us, event_id, position in keys:
        if (timestamp_us, event_id) != previous:
            order.append(position)
            previous = (timestamp_us, event_id)
    return order


def _copied_straight(rows: dict[str, Column]) -> bool:
    try:
        with transaction.atomic():
            copy_rows("events", rows)
    except IntegrityError as error:
        if _sqlstate(error) == UNIQUE_VIOLATION:
            return False
        _check_partition(error)
        raise
    return True


def _stage(rows: dict[str, Column]) -> set[int]:
    with connection.cursor() as sql:
        sql.execute(_STAGING)
        copy_rows("event_staging", rows)
        try:
            sql.execute(_FROM_STAGING)
        except IntegrityError as error:
            _check_partition(error)
            raise
        stored = {offset for (offset,) in sql.fetchall()}
        sql.execute("TRUNCATE event_staging")
    return stored


def _sqlstate(error: Exception) -> str | None:
    return getattr(error.__cause__, "pgcode", None)


def _check_partition(error: IntegrityError) -> None:
    """Raise `PartitionMissing` where that may be what the error means."""
    if _sqlstate(error) == CHECK_VIOLATION:
        raise PartitionMissing from error


def _columns(batch: EventBatch, *, cursor_id: int, project: Project, scored: Sequence[bool]) -> dict[str, Column]:
    """Return the COPY texts of every column of `events`, in the batch's order."""
    count = len(batch)
    return {
        "event_id": [item.event_id.hex for item in batch.accepted],
        "project_id": [str(project.pk)] * count,
        "timestamp": copy_text.timestamps(batch.timestamps_us),
        "cursor_id": [str(cursor_id)] * count,
        "log_offset": [str(offset) for offset in batch.offsets],
        "scored": copy_text.booleans(scored),
        **_measured(batch),
        **_named(batch),
        **_content(batch, project),
    }


def _measured(batch: EventBatch) -> dict[str, Column]:
    events = [item.event for item in batch.accepted]
    total = batch.total_tokens
    known = ~np.isnan(total)
    return {
        "latency_ms": [repr(event.latency_ms) for event in events],
        "ttft_ms": copy_text.numbers([event.ttft_ms for event in events]),
        "prompt_tokens": copy_text.numbers([event.prompt.tokens for event in events]),
        "completion_tokens": copy_text.numbers([event.response.tokens for event in events]),
        "total_tokens": [
            str(int(value)) if is_known else copy_text.NULL
            for value, is_known in zip(total.tolist(), known.tolist(), strict=True)
        ],
        "cached_tokens": copy_text.numbers([event.cached_tokens for event in events]),
        "cache_write_tokens": copy_text.numbers([event.cache_write_tokens for event in events]),
        "reasoning_tokens": copy_text.numbers([event.reasoning_tokens for event in events]),
        "cost_usd": copy_text.numbers([event.cost_usd for event in events]),
        "sample_weight": [repr(event.sample_weight) for event in events],
        "has_errors": copy_text.booleans([bool(event.errors) for event in events]),
    }


def _named(batch: EventBatch) -> dict[str, Column]:
    events = [item.event for item in batch.accepted]
    columns = zip(*map(_same_names, events), strict=True)
    return {
        "service": copy_text.labels([event.service_name for event in events]),
        "model": copy_text.labels([event.model for event in events]),
        "finish_reason": copy_text.labels([event.response.finish_reason for event in events]),
        **{name: copy_text.labels(column) for name, column in zip(_SAME_NAMES, columns, strict=True)},
    }


_SAME_NAMES = (
    "provider",
    "operation",
    "requested_model",
    "response_model",
    "environment",
    "token_source",
    "cost_source",
    "trace_id",
    "span_id",
    "parent_span_id",
    "session_id",
    "user_id",
    "prompt_template_id",
    "prompt_template_version",
    "response_id",
    "sdk_name",
    "sdk_version",
    "content_mode",
)

_same_names = attrgetter(*_SAME_NAMES)
_encode = msgspec.json.Encoder().encode


def _content(batch: EventBatch, project: Project) -> dict[str, Column]:
    accepted = batch.accepted
    events = [item.event for item in accepted]
    return {
        "prompt_text": _texts([event.prompt.text for event in events], project),
        "prompt_length": copy_text.numbers([item.prompt_length for item in accepted]),
        "prompt_sha256": copy_text.binaries([item.prompt_sha256 for item in accepted]),
        "prompt_embedding": _embeddings(
            [item.prompt_embedding for item in accepted], [event.prompt.embedding for event in events]
        ),
        "response_text": _texts([event.response.text for event in events], project),
        "response_length": copy_text.numbers([item.response_length for item in accepted]),
        "response_sha256": copy_text.binaries([item.response_sha256 for item in accepted]),
        "response_embedding": _embeddings(
            [item.response_embedding for item in accepted], [event.response.embedding for event in events]
        ),
        "errors": copy_text.json_documents([event.errors for event in events], _encode),
        "metadata": copy_text.json_documents([event.metadata for event in events], _encode),
        "features": copy_text.json_documents([event.features for event in events], _encode),
        "tool_calls": copy_text.json_documents([event.tool_calls for event in events], _encode),
        "retrieved_context": copy_text.json_documents([event.retrieved_context for event in events], _encode),
        "pii": copy_text.json_documents(batch.pii, _encode),
        "flags": copy_text.json_documents([item.flags for item in accepted], _encode),
    }


def _texts(values: list[str | None], project: Project) -> Column:
    if project.text_policy == TextPolicy.DROP:
        return [copy_text.NULL] * len(values)
    if project.text_policy == TextPolicy.TRUNCATE:
        values = [value and value[:TRUNCATED_CHARACTERS] for value in values]
    return copy_text.texts(values)


def _embeddings(summaries: Sequence[tuple[int, float] | None], vectors: Sequence[Sequence[float] | None]) -> Column:
    documents = [
        summary and {"dimension": summary[0], "norm": summary[1], **({"vector": vector} if vector else {})}
        for summary, vector in zip(summaries, vectors, strict=True)
    ]
    return copy_text.json_documents(documents, _encode)
