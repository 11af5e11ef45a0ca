"""The names under which tasks travel."""

from __future__ import annotations

import pytest
from django.conf import settings

from sentinel.celery import app


@pytest.mark.parametrize(
    "queue", [settings.SENTINEL_QUEUE_INGEST, settings.SENTINEL_QUEUE_BEHIND, settings.SENTINEL_QUEUE_BEAT]
)
def test_a_queue_is_named_by_version_and_installation(queue: str) -> None:
    _, version, installation = queue.split(".")
    assert version == "v1"
    assert installation == settings.SENTINEL_INSTALLATION
    assert app.conf.broker_transport_options["global_keyprefix"] == f"sentinel:{installation}:"


def test_no_task_goes_to_a_queue_that_other_versions_read() -> None:
    app.loader.import_default_modules()
    ours = [name for name in app.tasks if name.startswith("sentinel.")]
    assert "sentinel.ingest_range" in ours
    router = app.amqp.router
    for name in ours:
        queue = router.route({}, name)["queue"].name
        assert queue in {settings.SENTINEL_QUEUE_INGEST, settings.SENTINEL_QUEUE_BEAT}
