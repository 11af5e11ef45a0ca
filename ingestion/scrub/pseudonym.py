"""Placeholders and pseudonyms: what stands in the place of a value.

With a key, equal values get equal tags and can be joined without being known. A tag is keyed BLAKE2b (RFC 7693) over
type, NUL and the normalised value. Whoever holds the key can still guess values of low entropy.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

UNSCANNABLE = "UNSCANNABLE"
UNSCANNABLE_PLACEHOLDER = f"[{UNSCANNABLE}]"
USER_ID = "USER_ID"
TAG_BYTES = 6
USER_TAG_BYTES = 8
MAX_KEY_BYTES = hashlib.blake2b.MAX_KEY_SIZE

_PLACEHOLDER = re.compile(rb"\[[A-Z][A-Z0-9_]{0,19}(?::[0-9a-f]{12})?\]")
_PSEUDONYM = re.compile(r"user_[0-9a-f]{16}")


def placeholder(type_: str, normalised: bytes, key: bytes | None) -> str:
    """Return `[EMAIL]`, or `[EMAIL:b52312d13fb0]` with a key."""
    if key is None:
        return f"[{type_}]"
    return f"[{type_}:{_tag(type_, normalised, key, TAG_BYTES)}]"


def is_placeholder(value: bytes) -> bool:
    """Return whether the whole value is one placeholder."""
    return _PLACEHOLDER.fullmatch(value) is not None


def is_in_placeholder(data: bytes, start: int) -> bool:
    """Return whether the byte at `start` is the first behind the bracket of a placeholder."""
    return start > 0 and data[start - 1] == 0x5B and _PLACEHOLDER.match(data, start - 1) is not None


def user_pseudonym(user_id: str, key: bytes | None) -> str:
    """Return `user_` and 16 hex digits, or `[USER_ID]` without a key, since an unkeyed hash of an id can be guessed.

    A pseudonym stays as it is: what HTTP has scrubbed is scrubbed again when it comes back from the log.
    """
    encoded = user_id.encode(errors="surrogatepass")
    # The first characters rule out most ids at a fraction of the cost.
    if (user_id.startswith("user_") and _PSEUDONYM.fullmatch(user_id)) or (
        user_id.startswith("[") and is_placeholder(encoded)
    ):
        return user_id
    if key is None:
        return f"[{USER_ID}]"
    return f"user_{_tag(USER_ID, encoded, key, USER_TAG_BYTES)}"


def _tag(type_: str, normalised: bytes, key: bytes, size: int) -> str:
    state = _keyed(type_, key, size).copy()
    state.update(normalised)
    return state.hexdigest()


@lru_cache(maxsize=256)
def _keyed(type_: str, key: bytes, size: int) -> hashlib.blake2b:
    # Taking in the key is half of the work for a short value.
    return hashlib.blake2b(b"%b\0" % type_.encode(), key=key, digest_size=size)
