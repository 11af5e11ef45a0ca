"""The key of a record: one series stays in one partition, so that its baseline is in one place."""

from __future__ import annotations

from ingestion.event import Event


def series_key(event: Event) -> bytes:
    """Return service and model with a NUL between, which neither can hold."""
    return f"{event.service_name}\0{event.model}".encode()
