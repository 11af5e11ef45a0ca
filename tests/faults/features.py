"""What is compared of a stored event, read from the log and from the table alike: every column that the log determines.

What is expected comes from each scrubbed event alone. The worker builds whole columns, row by row in another order:
nothing of that is used here. Documents are compared as values, because jsonb keeps neither the order of keys nor the
notation of numbers; numbers with a fraction have the same 64 bits on both sides.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from operator import attrgetter
from typing import Any

import msgspec

from ingestion.content import EmbeddingSummary
from ingestion.event_batch import EventBatch
from ingestion.models.project import TextPolicy
from ingestion.validate import Accepted

# Stored of prompt and response by the policy "truncate".
TRUNCATED_CHARACTERS = 500
KNOWN_DOCUMENTS = 1_024

# Where a column stands in an `Accepted`.
_PATHS = {
    "timestamp": "timestamp_us",
    "service": "event.service_name",
    "prompt_tokens": "event.prompt.tokens",
    "completion_tokens": "event.response.tokens",
    "finish_reason": "event.response.finish_reason",
    "prompt_length": "prompt_length",
    "prompt_sha256": "event.prompt.original_sha256",
    "response_length": "response_length",
    "response_sha256": "event.response.original_sha256",
}
_OF_EVENT = (
    "model", "provider", "operation", "requested_model", "response_model", "environment", "latency_ms", "ttft_ms",
    "cached_tokens", "cache_write_tokens", "reasoning_tokens", "token_source", "cost_usd", "cost_source",
    "sample_weight", "trace_id", "span_id", "parent_span_id", "session_id", "user_id", "prompt_template_id",
    "prompt_template_version", "response_id", "sdk_name", "sdk_version", "content_mode",
)  # fmt: skip
_PLAIN = _PATHS | {name: f"event.{name}" for name in _OF_EVENT}
_COMPUTED = ("event_id", "project_id", "scored", "total_tokens", "has_errors", "prompt_text", "response_text")
# Null where they are empty.
_DOCUMENTS = (
    "errors", "metadata", "features", "tool_calls", "retrieved_context", "flags", "pii", "prompt_embedding",
    "response_embedding",
)  # fmt: skip
COMPARED = (*_PLAIN, *_COMPUTED, *_DOCUMENTS)
# A row is found by the first two. The last is when it was stored.
NOT_COMPARED = frozenset({"cursor_id", "log_offset", "ingested_at"})

_SQL = {
    "event_id": "event_id::text",
    "timestamp": "(extract(epoch FROM timestamp) * 1000000)::bigint",
    "prompt_sha256": "encode(prompt_sha256, 'hex')",
    "response_sha256": "encode(response_sha256, 'hex')",
    **{name: f"{name}::text" for name in _DOCUMENTS},
}
# For `digest_of_row`; the offset goes before them.
COLUMNS = ", ".join(["log_offset", *(_SQL.get(name, name) for name in COMPARED)])

_plain = attrgetter(*_PLAIN.values())
_parse = partial(json.loads, parse_int=float)


def identity(event_id: int, timestamp_us: int) -> int:
    """Return a number of 64 bits that stands for an event's identity within its project."""
    return hash((event_id, timestamp_us))


def digests_of(batch: EventBatch, scored: Sequence[bool], *, text_policy: str) -> list[int]:
    """Return a number of 64 bits for the columns of each event. It holds for one process."""
    return [
        hash((*_plain(item), *_computed(batch.project_id, item, is_scored, text_policy), *_documents(item, pii)))
        for item, pii, is_scored in zip(batch.accepted, batch.pii, scored, strict=True)
    ]


def digest_of_row(row: Sequence[Any]) -> int:
    """Return the same for a row of `COLUMNS`, without its offset."""
    return hash((*row[1 : -len(_DOCUMENTS)], *map(_stored_document, row[-len(_DOCUMENTS) :])))


def _computed(project_id: int, item: Accepted, is_scored: bool, text_policy: str) -> tuple[Any, ...]:
    event = item.event
    prompt, completion = event.prompt.tokens, event.response.tokens
    return (
        str(item.event_id),
        project_id,
        is_scored,
        None if prompt is None or completion is None else prompt + completion,
        bool(event.errors),
        _text(event.prompt.text, text_policy),
        _text(event.response.text, text_policy),
    )


def _text(text: str | None, policy: str) -> str | None:
    if text is None or policy == TextPolicy.DROP:
        return None
    return text[:TRUNCATED_CHARACTERS] if policy == TextPolicy.TRUNCATE else text


def _documents(item: Accepted, pii: Mapping[str, int] | None) -> Iterator[Any]:
    event = item.event
    for value in (
        event.errors,
        event.metadata,
        event.features,
        event.tool_calls,
        event.retrieved_context,
        item.flags,
        pii,
        _embedding(item.prompt_embedding, event.prompt.embedding),
        _embedding(item.response_embedding, event.response.embedding),
    ):
        yield _frozen(value) if value else None


def _embedding(summary: EmbeddingSummary | None, vector: Sequence[float] | None) -> Mapping[str, Any] | None:
    if summary is None:
        return None
    return {"dimension": summary[0], "norm": summary[1]} | ({"vector": vector} if vector else {})


@lru_cache(maxsize=KNOWN_DOCUMENTS)
def _stored_document(text: str | None) -> Any:
    return None if text is None else _frozen(_parse(text))


def _frozen(value: Any) -> Any:
    """Return a JSON value that can be hashed: equal ones are equal whatever their keys' order and their numbers' notation."""
    if isinstance(value, msgspec.Struct):
        fields = ((name, getattr(value, name)) for name in value.__struct_fields__)
        return _frozen({name: field for name, field in fields if field is not None})
    if isinstance(value, Mapping):
        return frozenset((name, _frozen(item)) for name, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(_frozen, value))
    return value
