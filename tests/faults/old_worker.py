"""A worker of another version on our queue: it knows none of our tasks, so Celery drops whatever it takes.

`python -m tests.faults.old_worker` consumes until it is killed, from the queue of SENTINEL_INSTALLATION at REDIS_URL.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from celery import Celery


def old_application(environment: Mapping[str, str]) -> Celery:
    """Return an application of another version that shares the queue of these variables."""
    installation = environment["SENTINEL_INSTALLATION"]
    app = Celery("old", broker=environment["REDIS_URL"])
    app.conf.update(
        broker_transport_options={"global_keyprefix": f"sentinel:{installation}:"},
        broker_connection_retry_on_startup=True,
        task_default_queue=f"ingest.v1.{installation}",
        worker_enable_remote_control=False,
    )
    return app


if __name__ == "__main__":
    old_application(os.environ).worker_main(
        ["worker", "--pool=solo", "--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=warning"]
    )
