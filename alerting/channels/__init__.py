"""The registry of channels: a new one is a module of this package and a line here."""

from __future__ import annotations

from collections.abc import Mapping

from alerting.channels.base import Channel
from alerting.channels.log import LogChannel
from alerting.channels.webhook import WebhookChannel

CHANNELS: Mapping[str, Channel] = {
    "log": LogChannel(),
    "webhook": WebhookChannel(),
}
