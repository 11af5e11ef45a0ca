"""Strict readers of environment variables.

A value that cannot be read stops the process at start with the variable's name, the value and what is accepted,
instead of a surprise at 3 a.m. The running installation of `sentinel up` supplies what the environment leaves out.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from sentinel.installation import load_environment

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off", ""})

_installation: Mapping[str, str] = load_environment()


def text(name: str, default: str = "") -> str:
    """Return variable `name`; an empty value counts as unset."""
    return os.environ.get(name) or _installation.get(name) or default


def flag(name: str, *, default: bool) -> bool:
    """Return a yes/no variable; raise `ImproperlyConfigured` for anything else."""
    value = text(name, "1" if default else "0").lower()
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    raise ImproperlyConfigured(f"{name}={value!r} is neither true nor false; use 1 or 0")


def integer(name: str, default: int, *, minimum: int = 0) -> int:
    """Return a whole number of at least `minimum`."""
    value = text(name, str(default))
    try:
        number = int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name}={value!r} is not a whole number") from None
    if number < minimum:
        raise ImproperlyConfigured(f"{name}={number} is too small; the minimum is {minimum}")
    return number


def listing(name: str, default: str = "") -> list[str]:
    """Return a comma-separated variable as a list without empty items."""
    return [item.strip() for item in text(name, default).split(",") if item.strip()]


def database(name: str, default: str) -> dict[str, object]:
    """Return Django's DATABASES entry for a `postgresql://` URL.

    A socket directory is given as `?host=/path`, as libpq does; other query parameters become connection options.
    """
    url = urlsplit(text(name, default))
    if url.scheme not in {"postgresql", "postgres"}:
        raise ImproperlyConfigured(f"{name} must be a postgresql:// URL, not {url.scheme or 'empty'}://")
    options = dict(parse_qsl(url.query))
    host = options.pop("host", None) or url.hostname or ""
    port = options.pop("port", None) or url.port or ""
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(url.path.lstrip("/")) or "sentinel",
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": unquote(host),
        "PORT": str(port),
        "OPTIONS": options,
    }
