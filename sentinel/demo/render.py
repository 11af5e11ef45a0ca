"""Calls as events of the wire: ids, texts and JSON (pure)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from sentinel.demo import texts
from sentinel.demo.calls import FAILURES, TIMEOUT, Calls
from sentinel.demo.catalogue import Source

SDK = {"sdk_name": "sentinel-demo", "sdk_version": "1"}
REGIONS = ("eu-west-1", "us-east-1", "ap-south-1")
ERROR_TEXTS = {
    "rate_limited": "429 rate limit reached, retry later",
    "timeout": "upstream timed out after 30 s",
    "server_error": "503 model overloaded",
}


@dataclass(frozen=True, slots=True)
class WireEvent:
    """One event ready to send; `repr` hides the value, which holds text."""

    event_id: uuid.UUID
    timestamp_us: int
    key: bytes
    value: bytes

    def __repr__(self) -> str:
        return f"WireEvent({self.event_id}, {self.timestamp_us}, {len(self.value)} bytes)"


def event_ids(rng: np.random.Generator, count: int) -> list[uuid.UUID]:
    """Return `count` version 4 UUIDs, the same for the same generator state."""
    octets = np.frombuffer(rng.bytes(16 * count), dtype=np.uint8).reshape(count, 16)
    octets = octets.copy()
    octets[:, 6] = (octets[:, 6] & 0x0F) | 0x40
    octets[:, 8] = (octets[:, 8] & 0x3F) | 0x80
    data = octets.tobytes()
    return [uuid.UUID(bytes=data[i : i + 16]) for i in range(0, 16 * count, 16)]


def timestamps(timestamp_us: npt.NDArray[np.int64]) -> list[str]:
    """Return RFC 3339 texts in UTC with microseconds."""
    text = np.datetime_as_string(timestamp_us.astype("M8[us]"), unit="us")
    return [f"{item}Z" for item in text.tolist()]


def render(
    calls: Calls,
    sources: Sequence[Source],
    ids: Sequence[uuid.UUID],
    timestamp_us: npt.NDArray[np.int64],
    rng: np.random.Generator,
    *,
    max_text_characters: int,
) -> Iterator[WireEvent]:
    """Yield one event per call, texts cut to `max_text_characters` each."""
    encode = msgspec.json.Encoder().encode
    keys = [source.key for source in sources]
    times = timestamps(timestamp_us)
    for row, body in enumerate(_bodies(calls, sources, rng, max_text_characters)):
        body["event_id"] = str(ids[row])
        body["timestamp"] = times[row]
        yield WireEvent(
            event_id=ids[row],
            timestamp_us=int(timestamp_us[row]),
            key=keys[calls.source[row]],
            value=encode(body),
        )


def _bodies(
    calls: Calls,
    sources: Sequence[Source],
    rng: np.random.Generator,
    max_text_characters: int,
) -> Iterator[dict[str, Any]]:
    count = len(calls)
    text = texts.corpus(rng)
    trace = rng.bytes(16 * count).hex()
    starts = rng.integers(0, len(text) - max_text_characters, (count, 2)).tolist()
    personal = (rng.random(count) < texts.PII_SHARE).tolist()
    user = rng.zipf(1.4, count) % 5_000
    columns = zip(
        calls.source.tolist(),
        calls.prompt_tokens.astype(np.int64).tolist(),
        calls.completion_tokens.astype(np.int64).tolist(),
        calls.latency_ms.round(2).tolist(),
        calls.ttft_ms.round(2).tolist(),
        calls.cost_usd.round(9).tolist(),
        calls.failure.tolist(),
        user.tolist(),
        strict=True,
    )
    for row, (which, prompt, completion, latency, ttft, cost, failure, who) in enumerate(columns):
        source = sources[which]
        prompt_start, response_start = starts[row]
        prompt_text = _slice(text, prompt_start, prompt, max_text_characters)
        if personal[row]:
            prompt_text = f"{texts.personal_data(rng)} {prompt_text}"
        yield {
            "service_name": source.service,
            "model": source.model,
            "provider": source.provider,
            "operation": "chat",
            "trace_id": trace[32 * row : 32 * row + 32],
            "span_id": trace[32 * row + 8 : 32 * row + 24],
            "session_id": f"session-{who}-{row % 3}",
            "user_id": f"user-{who}",
            "environment": "production",
            "prompt_template_id": source.template,
            "prompt_template_version": "7",
            "prompt": {"text": prompt_text, "tokens": prompt},
            "response": {
                "text": _slice(text, response_start, completion, max_text_characters),
                "tokens": completion,
                "finish_reason": "error" if failure else "stop",
            },
            "latency_ms": latency,
            "ttft_ms": None if failure else min(ttft, latency),
            "cost_usd": cost,
            "token_source": "reported",
            "cost_source": "caller",
            "metadata": {
                "region": REGIONS[who % len(REGIONS)],
                "attempts": "2" if failure == TIMEOUT else "1",
            },
            "errors": [ERROR_TEXTS[FAILURES[failure]]] if failure else [],
            **SDK,
        }


def _slice(text: str, start: int, tokens: int, limit: int) -> str:
    """Return about as many characters as `tokens` stand for."""
    length = min(int(tokens * texts.CHARACTERS_PER_TOKEN), limit)
    return text[start : start + length].strip()
