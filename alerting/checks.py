"""System checks of alerting's settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error

from alerting.address import parse_networks


def check_allowed_networks(app_configs: Any = None, **_: Any) -> Sequence[CheckMessage]:
    """Report what in SENTINEL_WEBHOOK_ALLOWED_NETWORKS is no network."""
    try:
        parse_networks(settings.SENTINEL_WEBHOOK_ALLOWED_NETWORKS)
    except ValueError as error:
        return [
            Error(
                f"SENTINEL_WEBHOOK_ALLOWED_NETWORKS: {error}.",
                hint="Name networks such as 127.0.0.0/8 or 10.1.2.3, separated by commas; host bits must be zero.",
                id="alerting.E001",
            )
        ]
    return []
