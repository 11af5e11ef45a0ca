"""Decide by its name whether a metadata value or `name=value` in a text is a secret.

"DB_PASSWORD", "x-api-key" and "clientSecret" are; "prompt_tokens", "token_count" and "password_length" are not. The
words stand in `patterns.yaml`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import lru_cache

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+")
_SEGMENT = re.compile(r"[.\[\]/:]+")
MAX_NAME_CHARACTERS = 256
_CACHED_NAMES = 8_192


@dataclass(frozen=True)
class SensitiveNames:
    """The vocabulary, in lower case.

    A name is sensitive whose last word is one of `last_words`, or whose words run together end with one of
    `endings`; not where the word before the last is one of `harmless_before` that last word. One segment of a dotted
    name suffices, unless the last segment ends with one of `harmless_last_words` ("token.count").
    """

    last_words: Collection[str]
    endings: tuple[str, ...]
    harmless_before: dict[str, Collection[str]] = field(default_factory=dict)
    harmless_last_words: Collection[str] = ()
    hits: tuple[str, ...] = ()
    misses: tuple[str, ...] = ()
    _cached: Callable[[str], bool] = field(init=False, repr=False, compare=False)
    _cached_among: Callable[[tuple[str, ...]], tuple[str, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Senders repeat a few names endlessly. Bounded, because they may also invent new ones forever.
        object.__setattr__(self, "_cached", lru_cache(maxsize=_CACHED_NAMES)(self._decide))
        object.__setattr__(self, "_cached_among", lru_cache(maxsize=_CACHED_NAMES)(self._among))

    def __contains__(self, name: str) -> bool:
        return self._cached(name)

    def among(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the sensitive ones of all names of one event: one look-up for the same few lists again and again."""
        return self._cached_among(names)

    def _among(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in names if name in self)

    def _decide(self, name: str) -> bool:
        segments = [_WORD.findall(segment) for segment in _SEGMENT.split(name[-MAX_NAME_CHARACTERS:])]
        named = [[word.lower() for word in words] for words in segments if words]
        if not named or named[-1][-1] in self.harmless_last_words:
            return False
        return any(self._is_sensitive(words) for words in named)

    def _is_sensitive(self, words: list[str]) -> bool:
        last = words[-1]
        if len(words) > 1 and words[-2] in self.harmless_before.get(last, ()):
            return False
        return last in self.last_words or "".join(words).endswith(self.endings)
