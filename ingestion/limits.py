"""Limits that an installation or a project may set; the structural ones stand with their fields in `ingestion.event`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one event may hold.

    Beyond the first group an event is rejected or its text is cut. Beyond the second it is stored and flagged:
    extremes are what the product is for.
    """

    max_event_bytes: int = 1_000_000
    max_text_bytes: int = 10_000
    max_nesting: int = 20
    max_metadata_keys: int = 128
    max_metadata_bytes: int = 32_768
    max_metadata_depth: int = 5
    keep_embeddings: bool = False

    min_latency_ms: float = 0.1
    max_latency_ms: float = 300_000.0
    max_tokens: int = 100_000
    max_cost_usd: float = 100.0

    def __post_init__(self) -> None:
        """Raise `ValueError` where a limit would refuse or cut every event."""
        for name in (
            "max_event_bytes",
            "max_text_bytes",
            "max_nesting",
            "max_metadata_keys",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")


DEFAULT_LIMITS = Limits()
MAX_BODY_BYTES = 10_000_000
MAX_BODY_EVENTS = 10_000
