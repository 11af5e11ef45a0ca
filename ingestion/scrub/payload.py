"""Scrub bytes that are no event: the payload of a dead letter, which may be anything."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ingestion.cut import cut_text
from ingestion.scrub.pseudonym import user_pseudonym
from ingestion.scrub.scrubber import Scrubber

# Escapes of ASCII hide an address from the rules (anna\u0040example.com). Quotation mark and backslash stay escaped,
# or JSON would no longer be JSON.
_ASCII_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\u00(2[013-9a-f]|[346][0-9a-f]|5[0-9abd-f]|7[0-9a-e])", re.IGNORECASE)
# What every match of it holds: to look for that takes a twentieth of the time.
_ESCAPE = re.compile(r"\\[uU]00[2-7]")
_USER_ID = re.compile(r'("user_id"\s*:\s*)("(?P<text>(?:[^"\\]|\\.)*)"?|(?P<other>[^\s",}\]]+))')


@dataclass(frozen=True, slots=True)
class ScrubbedPayload:
    """A payload fit for storage; one that is cut can be shown to people but is no longer what was sent."""

    text: str
    is_cut: bool


NO_PAYLOAD = ScrubbedPayload("", is_cut=False)


def scrub_bytes(raw: bytes, scrubber: Scrubber, max_bytes: int = 10_000) -> ScrubbedPayload:
    """Return a payload as text fit for storage: decoded with replacements, cut, scrubbed, without NUL.

    The cut is to `max_bytes` of UTF-8; placeholders may then lengthen the text a little. Never raises for any bytes.
    """
    return scrub_payloads([raw], scrubber, max_bytes)[0]


def scrub_payloads(raws: Sequence[bytes], scrubber: Scrubber, max_bytes: int = 10_000) -> list[ScrubbedPayload]:
    """Return what `scrub_bytes` gives for each; the scrubber looks through all of them at once."""
    cut = [_cut(raw, scrubber, max_bytes) for raw in raws]
    scrubbed = scrubber.scrub([text for text, _ in cut]).texts
    return [ScrubbedPayload(text, is_cut) for text, (_, is_cut) in zip(scrubbed, cut, strict=True)]


def _cut(raw: bytes, scrubber: Scrubber, max_bytes: int) -> tuple[str, bool]:
    """Return the payload as a text of at most `max_bytes`, and whether it is shorter than it was."""
    text = raw.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
    if _ESCAPE.search(text):
        text = _ASCII_ESCAPE.sub(lambda match: match[1] + chr(int(match[2], 16)), text)
    text = _USER_ID.sub(lambda match: _pseudonymised(match, scrubber), text)
    shorter = cut_text(text, max_bytes=max_bytes)
    return shorter, shorter is not text


def _pseudonymised(match: re.Match[str], scrubber: Scrubber) -> str:
    value = match["text"] if match["text"] is not None else match["other"]
    if not value or value == "null":
        return match[0]
    return f'{match[1]}"{user_pseudonym(value, scrubber.user_key)}"'
