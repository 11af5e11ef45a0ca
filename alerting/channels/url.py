"""The URL of a webhook, taken apart and checked for form; where it leads is checked when connecting."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

MAX_URL_LENGTH = 2000
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Scheme, host, port and request target of a URL."""

    secure: bool
    host: str
    port: int
    path: str


def parse_url(url: str) -> Endpoint:
    """Return the parts of `url`; raise `ValueError` with a sentence that repeats nothing of it."""
    if len(url) > MAX_URL_LENGTH:
        raise ValueError(f"The URL is longer than {MAX_URL_LENGTH} characters.")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ValueError("The URL holds a space, a backslash, or a character outside printable ASCII.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("The URL cannot be parsed; its host or port is malformed.") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise ValueError("The URL must start with https:// or http://.")
    if not parts.hostname:
        raise ValueError("The URL names no host.")
    if "@" in parts.netloc:
        raise ValueError("The URL holds a user name or password; use the secret instead.")
    if parts.fragment:
        raise ValueError("The URL has a fragment (#...), which is never sent.")
    if port == 0:
        raise ValueError("Port 0 cannot be connected to.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Endpoint(
        secure=parts.scheme == "https",
        host=parts.hostname,
        port=port or _DEFAULT_PORTS[parts.scheme],
        path=path,
    )
