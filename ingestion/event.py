"""The event of the wire: one LLM call, as SDKs write it to Kafka or post it over HTTP.

Field names, units and structural limits stand here and nowhere else: `ingestion.schema` exports them for SDK
authors, `ingestion.validate` adds the rules that a type cannot express and normalises what it accepts. The optional
fields mean what the OpenTelemetry GenAI conventions mean; token counts include cached and reasoning tokens. The repr of
every struct leaves out what the user or the model wrote, so that no log or traceback shows it.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

MAX_TOKENS = 2**31 - 1
MAX_LATENCY_MS = 1e12
MAX_COST_USD = 1e12
MAX_EMBEDDING_DIMENSION = 8_192
MAX_LIST_ITEMS = 256

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Label = Annotated[str, Meta(max_length=64)]
LongLabel = Annotated[str, Meta(max_length=200)]
Identifier = Annotated[str, Meta(max_length=128)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Tokens = Annotated[int, Meta(ge=0, le=MAX_TOKENS)]
Milliseconds = Annotated[float, Meta(ge=0, le=MAX_LATENCY_MS)]
UsDollars = Annotated[float, Meta(ge=0, le=MAX_COST_USD)]
Weight = Annotated[float, Meta(gt=0, le=1e9)]
Embedding = Annotated[list[float], Meta(max_length=MAX_EMBEDDING_DIMENSION)]

TokenSource = Literal["reported", "estimated", "unknown"]
CostSource = Literal["provider", "price_book", "caller", "unknown"]
ContentMode = Literal["full", "redacted", "features", "none"]

# The wire is wider than what readers of an accepted event see: `decode_event` flattens nested metadata, turns JSON
# values of tools into text and null lists into empty ones. Decoders and the exported schema use the wide types.
if TYPE_CHECKING:
    Metadata = dict[str, str]
    ToolText = str | None
    Errors = tuple[str, ...]
else:
    Metadata = dict[str, Any] | None
    ToolText = Any
    Errors = Annotated[tuple[str, ...], Meta(max_length=MAX_LIST_ITEMS)] | None


class PromptInfo(
    Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    gc=False,
):
    """What was sent to the model."""

    text: Annotated[
        str | None,
        Meta(description="Required unless content_mode is features or none; may be empty."),
    ] = None
    tokens: Annotated[
        Tokens | None,
        Meta(description="Input tokens including cached ones; null is unknown, not zero."),
    ] = None
    embedding: Annotated[Embedding | None, Meta(description="Finite numbers; at most 8192.")] = None
    embedding_dimension: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_EMBEDDING_DIMENSION)] | None,
        Meta(description="Set where the sender reduced the embedding; computed otherwise."),
    ] = None
    embedding_norm: Annotated[Annotated[float, Meta(ge=0)] | None, Meta(description="L2 norm, likewise.")] = None
    original_length: Annotated[
        Annotated[int, Meta(ge=0, le=MAX_TOKENS)] | None,
        Meta(description="Characters before the sender cut the text; absent if it did not."),
    ] = None
    original_sha256: Annotated[
        Sha256 | None,
        Meta(description="Of the UTF-8 text before the cut, lower-case hex."),
    ] = None

    def __repr__(self) -> str:
        return f"PromptInfo(tokens={self.tokens})"


class ResponseInfo(
    Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    gc=False,
):
    """What the model answered."""

    text: Annotated[
        str | None,
        Meta(description="Required unless content_mode is features or none, or errors has an entry; may be empty."),
    ] = None
    tokens: Annotated[
        Tokens | None,
        Meta(description="Output tokens including reasoning; null is unknown, not zero."),
    ] = None
    finish_reason: Annotated[Label | None, Meta(description="As sent; kept raw.")] = None
    embedding: Annotated[Embedding | None, Meta(description="Finite numbers; at most 8192.")] = None
    embedding_dimension: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_EMBEDDING_DIMENSION)] | None,
        Meta(description="Set where the sender reduced the embedding; computed otherwise."),
    ] = None
    embedding_norm: Annotated[Annotated[float, Meta(ge=0)] | None, Meta(description="L2 norm, likewise.")] = None
    original_length: Annotated[
        Annotated[int, Meta(ge=0, le=MAX_TOKENS)] | None,
        Meta(description="Characters before the sender cut the text; absent if it did not."),
    ] = None
    original_sha256: Annotated[
        Sha256 | None,
        Meta(description="Of the UTF-8 text before the cut, lower-case hex."),
    ] = None

    def __repr__(self) -> str:
        return f"ResponseInfo(tokens={self.tokens}, finish_reason={self.finish_reason!r})"


class ToolCall(
    Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    gc=False,
):
    """One call of a tool that the model asked for."""

    id: Annotated[LongLabel | None, Meta(description="gen_ai.tool.call.id")] = None
    name: Annotated[LongLabel | None, Meta(description="gen_ai.tool.name")] = None
    arguments: Annotated[ToolText, Meta(description="Text, or any JSON value, kept as its compact JSON.")] = None
    result: Annotated[ToolText, Meta(description="Text, or any JSON value, kept as its compact JSON.")] = None
    error: Annotated[str | None, Meta(description="Why the tool failed; absent if it did not.")] = None

    def __repr__(self) -> str:
        return f"ToolCall(name={self.name!r})"


class RetrievedDocument(
    Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    gc=False,
):
    """A document that was put into the prompt."""

    id: LongLabel | None = None
    text: str | None = None
    score: Annotated[float | None, Meta(description="The retriever's own scale; finite.")] = None

    def __repr__(self) -> str:
        return f"RetrievedDocument(id={self.id!r})"


class Event(
    Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    gc=False,
):
    """One LLM call.

    The structs refuse unknown fields so that the decoder notices them at no cost; `decode_event` then counts and
    drops them.
    """

    event_id: Annotated[
        uuid.UUID | None,
        Meta(
            description="Identity with the timestamp: sending it again changes nothing. Absent: derived from the log."
        ),
    ] = None
    timestamp: Annotated[
        dt.datetime | None,
        Meta(
            description="End of the call, ISO 8601; UTC without an offset; rounded to microseconds. Required over HTTP."
        ),
    ] = None
    service_name: Annotated[Name, Meta(description="The calling application.")]
    model: Annotated[Name, Meta(description="A known provider's prefix such as openai/ is removed.")]
    trace_id: Annotated[
        Identifier | None,
        Meta(description="Opaque; hex is padded to 32 digits and lower-cased."),
    ] = None
    span_id: Annotated[
        Identifier | None,
        Meta(description="Opaque; hex is padded to 16 digits and lower-cased."),
    ] = None
    prompt: PromptInfo = msgspec.field(default_factory=PromptInfo)
    response: ResponseInfo = msgspec.field(default_factory=ResponseInfo)
    latency_ms: Annotated[Milliseconds, Meta(description="Wall time of the whole call.")]
    cost_usd: Annotated[UsDollars | None, Meta(description="Null is unknown, not free.")] = None
    metadata: Annotated[
        Metadata,
        Meta(
            description="Text by name. Numbers and booleans become text, nested values dotted names, nulls are dropped."
        ),
    ] = msgspec.field(default_factory=dict)
    errors: Annotated[Errors, Meta(description="What went wrong; empty for a success.")] = ()

    provider: Annotated[Label | None, Meta(description="gen_ai.provider.name")] = None
    operation: Annotated[Label | None, Meta(description="gen_ai.operation.name")] = None
    requested_model: Annotated[
        LongLabel | None,
        Meta(description="As the application asked for it; set when a prefix was removed."),
    ] = None
    response_model: Annotated[LongLabel | None, Meta(description="The exact model that answered.")] = None
    response_id: Annotated[LongLabel | None, Meta(description="gen_ai.response.id")] = None
    ttft_ms: Annotated[Milliseconds | None, Meta(description="Time to the first token or chunk.")] = None
    cached_tokens: Annotated[
        Tokens | None,
        Meta(description="Input tokens read from the provider's cache."),
    ] = None
    cache_write_tokens: Annotated[
        Tokens | None,
        Meta(description="Input tokens written to the provider's cache."),
    ] = None
    reasoning_tokens: Annotated[Tokens | None, Meta(description="Output tokens spent on reasoning.")] = None
    token_source: TokenSource | None = None
    cost_source: CostSource | None = None
    parent_span_id: Annotated[
        Identifier | None,
        Meta(description="Opaque; hex is padded to 16 digits and lower-cased."),
    ] = None
    session_id: Annotated[LongLabel | None, Meta(description="gen_ai.conversation.id")] = None
    user_id: Annotated[LongLabel | None, Meta(description="Stored only as a keyed pseudonym.")] = None
    prompt_template_id: LongLabel | None = None
    prompt_template_version: Label | None = None
    environment: Annotated[Label | None, Meta(description="deployment.environment.name")] = None
    sample_weight: Annotated[
        Weight,
        Meta(description="How many calls this one stands for, where the SDK sampled."),
    ] = 1.0
    content_mode: Annotated[ContentMode, Meta(description="How much of the content this event carries.")] = "full"
    features: Annotated[
        dict[str, float],
        Meta(max_length=MAX_LIST_ITEMS, description="Numbers that stand in for content."),
    ] = msgspec.field(default_factory=dict)
    tool_calls: Annotated[tuple[ToolCall, ...], Meta(max_length=MAX_LIST_ITEMS)] = ()
    retrieved_context: Annotated[tuple[RetrievedDocument, ...], Meta(max_length=MAX_LIST_ITEMS)] = ()
    sdk_name: Label | None = None
    sdk_version: Label | None = None

    def __repr__(self) -> str:
        return f"Event(event_id={self.event_id}, service_name={self.service_name!r}, model={self.model!r})"


_encoder = msgspec.json.Encoder()


def encode_event(event: Event) -> bytes:
    """Return the event as wire JSON (UTF-8, defaults omitted); decoding it gives the same event again."""
    return _encoder.encode(event)
