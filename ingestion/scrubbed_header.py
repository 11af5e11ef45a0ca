"""What was scrubbed before a record reached the log, in a header: HTTP and SDKs scrub first, and placeholders tell no counts.

`sentinel-scrubbed: {"EMAIL": 2}`. The worker adds these counts to what it still finds itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

HEADER_SCRUBBED = "sentinel-scrubbed"
MAX_TYPES = 64
MAX_TYPE_CHARACTERS = 64
MAX_COUNT = 1_000_000

_decode = msgspec.json.Decoder(dict[str, int]).decode


def write_scrubbed(counts: Mapping[str, int] | None) -> list[tuple[str, bytes]]:
    """Return the header of the counts; none where nothing was scrubbed."""
    return [(HEADER_SCRUBBED, msgspec.json.encode(dict(counts)))] if counts else []


def read_scrubbed(headers: Sequence[tuple[str, bytes]]) -> Mapping[str, int]:
    """Return the counts of a record; empty where the header is missing or unusable. Never raises."""
    for name, value in headers:
        if name == HEADER_SCRUBBED:
            try:
                counts = _decode(value)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                return {}
            return counts if _is_usable(counts) else {}
    return {}


def joined(before: Mapping[str, int], found: Mapping[str, int] | None) -> Mapping[str, int] | None:
    """Add what was scrubbed before and what was found now; None where both are nothing."""
    return dict(Counter(before) + Counter(found or {})) if before else found


def _is_usable(counts: Mapping[str, int]) -> bool:
    return len(counts) <= MAX_TYPES and all(
        name.isprintable() and 0 < len(name) <= MAX_TYPE_CHARACTERS and 0 < count <= MAX_COUNT
        for name, count in counts.items()
    )
