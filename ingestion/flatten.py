"""Turn nested JSON of the sender into flat text, so that scrubbing, search and storage meet only strings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ingestion.reject import RefusedError, RejectReason


def flat_metadata(metadata: Mapping[str, Any], *, max_depth: int) -> dict[str, str]:
    """Return metadata as text by dotted name, in document order; a later value of the same name wins.

    Numbers and booleans become their JSON text; nulls and empty containers are dropped. Raises `RefusedError` for more
    than `max_depth` containers inside one another.
    """
    return dict(_leaves(metadata, "", max_depth))


def _leaves(container: Mapping[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, str]]:
    if depth == 0:
        raise RefusedError(RejectReason.TOO_DEEP, "metadata", "is nested too deeply")
    for name, value in container.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.", depth - 1)
        elif isinstance(value, list):
            items = {str(index): item for index, item in enumerate(value)}
            yield from _leaves(items, f"{prefix}{name}.", depth - 1)
        elif value is not None:
            yield prefix + name, json_text(value)


def json_text(value: Any) -> str:
    """Return text as it is, any other JSON value as compact JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def is_deeper(value: Any, levels: int) -> bool:
    """Return whether a JSON value has more than `levels` containers inside one another."""
    if not isinstance(value, dict | list):
        return False
    if levels == 0:
        return True
    items = value.values() if isinstance(value, dict) else value
    return any(is_deeper(item, levels - 1) for item in items)
