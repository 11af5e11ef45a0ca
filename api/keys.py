"""The text of an API key: `sk_sentinel_<prefix>_<secret>`.

The prefix finds the row, the secret proves the caller. The secret ends in a checksum, so that a secrets scanner can
tell a real key from a look-alike without asking us, as GitHub's tokens do. A key has 256 random bits, so one round of
SHA-256 is the right hash: slow hashes protect guessable passwords.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
PREFIX_LENGTH = 12
RANDOM_LENGTH = 43  # 62 ** 43 > 2 ** 256
CHECKSUM_LENGTH = 6  # 62 ** 6 > 2 ** 32
PATTERN = (  # for secrets scanners as well
    rf"sk_sentinel_([0-9A-Za-z]{{{PREFIX_LENGTH}}})_([0-9A-Za-z]{{{RANDOM_LENGTH + CHECKSUM_LENGTH}}})"
)

_pattern = re.compile(PATTERN)


@dataclass(frozen=True, slots=True)
class Token:
    """A key as its holder has it. Its representation hides the secret."""

    prefix: str
    secret: str

    def __str__(self) -> str:
        return f"sk_sentinel_{self.prefix}_{self.secret}"

    def __repr__(self) -> str:
        return f"Token(sk_sentinel_{self.prefix}_…)"

    @property
    def digest(self) -> bytes:
        """SHA-256 of the whole key: what is stored."""
        return hashlib.sha256(str(self).encode()).digest()

    def matches(self, digest: bytes | memoryview) -> bool:
        """Compare with a stored digest in constant time."""
        return hmac.compare_digest(self.digest, bytes(digest))


def generate() -> Token:
    """Return a new random key."""
    return with_prefix(_random_text(PREFIX_LENGTH))


def with_prefix(prefix: str) -> Token:
    """Return a new random key that has this prefix."""
    random = _random_text(RANDOM_LENGTH)
    return Token(prefix=prefix, secret=random + _checksum(prefix + random))


def parse(text: str) -> Token | None:
    """Return the key that `text` spells, or None where form or checksum is wrong."""
    match = _pattern.fullmatch(text)
    if match is None:
        return None
    prefix, secret = match.groups()
    if _checksum(prefix + secret[:RANDOM_LENGTH]) != secret[RANDOM_LENGTH:]:
        return None
    return Token(prefix=prefix, secret=secret)


def _random_text(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _checksum(text: str) -> str:
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
