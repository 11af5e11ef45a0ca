"""What is compared of a stored event, read from the log and from the table alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ingestion.event_batch import EventBatch

# In the order of `features_of`; the offset goes before them.
COLUMNS = """
    log_offset, event_id::text, (extract(epoch FROM timestamp) * 1000000)::bigint, service, model, latency_ms, ttft_ms,
    prompt_tokens, completion_tokens, total_tokens, cost_usd, sample_weight, has_errors, scored
"""


def identity(event_id: int, timestamp_us: int) -> int:
    """Return a number of 64 bits that stands for an event's identity within its project."""
    return hash((event_id, timestamp_us))


def features_of(batch: EventBatch, scored: Sequence[bool]) -> list[tuple[Any, ...]]:
    """Return the columns of each event, without its offset."""
    return [
        (
            str(item.event_id),
            item.timestamp_us,
            item.event.service_name,
            item.event.model,
            item.event.latency_ms,
            item.event.ttft_ms,
            item.event.prompt.tokens,
            item.event.response.tokens,
            None if total != total else int(total),  # NaN, unknown
            item.event.cost_usd,
            item.event.sample_weight,
            bool(item.event.errors),
            is_scored,
        )
        for item, total, is_scored in zip(batch.accepted, batch.total_tokens.tolist(), scored, strict=True)
    ]
