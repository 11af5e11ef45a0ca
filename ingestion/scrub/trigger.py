"""Turn a rule's trigger into patterns that hyperscan and re2 answer alike."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ingestion.scrub.engine import MAX_TRIGGER_BYTES

DEFAULT_LEFT = "[^0-9A-Za-z_]"
# In JSON and URLs inside a text, an escape may stand before a value and end in a letter or digit: \nAKIA, %3DAKIA.
_ESCAPES = ((rb"\\[bfnrt]", 2), (rb"%[0-9A-Fa-f]{2}", 3), (rb"\\u[0-9A-Fa-f]{4}", 6))


@dataclass(frozen=True, slots=True)
class Trigger:
    """A short pattern of fixed width for the engine; the value starts `skip` bytes into its match."""

    pattern: bytes
    skip: int


def triggers_of(source: str, left: str) -> list[Trigger]:
    """Return the trigger behind its left boundary and behind each escape, or alone where it has no boundary.

    Raises `ValueError` for a pattern without a fixed width of at most `MAX_TRIGGER_BYTES`.
    """
    pattern = b"(?:%b)" % pattern_bytes(source)
    _check_fixed_width(pattern)
    if not left:
        return [Trigger(pattern, 0)]
    boundary = Trigger(pattern_bytes(left) + pattern, 1)
    return [boundary, *(Trigger(escape + pattern, width) for escape, width in _ESCAPES)]


def pattern_bytes(source: str) -> bytes:
    """Patterns are over bytes: what is not ASCII must be written as \\x escapes."""
    try:
        return source.encode("ascii")
    except UnicodeEncodeError:
        raise ValueError(f"pattern {source!r} is not ASCII; write the bytes as \\x..") from None


def _check_fixed_width(pattern: bytes) -> None:
    """Only a fixed width gives both engines the same hits."""
    if error := _lookbehind_error(pattern):
        raise ValueError(f"trigger {pattern.decode()!r}: {error}")
    # Without a repeat no pattern matches more bytes than it has.
    is_short = len(pattern) <= MAX_TRIGGER_BYTES and b"{" not in pattern
    if not is_short and not any(_has_width(pattern, width) for width in range(1, MAX_TRIGGER_BYTES + 1)):
        raise ValueError(f"trigger {pattern.decode()!r} matches nothing or more than {MAX_TRIGGER_BYTES} bytes")


def _has_width(pattern: bytes, width: int) -> bool:
    # Python compiles a look-behind only if all its alternatives are equally wide.
    return _lookbehind_error(b"%b|.{%d}" % (pattern, width)) is None


def _lookbehind_error(pattern: bytes) -> re.error | None:
    try:
        re.compile(b"(?<=%b)" % pattern, re.DOTALL)
    except re.error as error:
        return error
    return None
