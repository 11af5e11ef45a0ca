"""The one assertion that every channel must pass: nothing that it leaves behind holds a secret."""

from __future__ import annotations

import pytest
from django.core import serializers

from alerting.models import DeliveryAttempt, OutboxEntry

URL_TOKEN = "url-token"
SECRET = "whsec_c2VudGluZWwtdGVzdC1zZWNyZXQtMzItYnl0ZXMh"
KEY = "sentinel-test-secret-32-bytes!"


def assert_leaks_no_secret(*texts: object, log: pytest.LogCaptureFixture) -> None:
    """Look for the webhook's secret, its key and the token in its URL in the log, in `texts` and in stored rows."""
    rows = [*OutboxEntry.objects.all(), *DeliveryAttempt.objects.all()]
    stored = serializers.serialize("json", rows)
    everything = "\n".join(
        [stored, *(str(record.msg) + record.getMessage() for record in log.records), *map(repr, texts)]
    )
    for secret in (URL_TOKEN, SECRET, SECRET.removeprefix("whsec_"), KEY):
        assert secret not in everything
