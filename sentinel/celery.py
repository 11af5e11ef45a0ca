"""The Celery application. Redis is a lossy hint channel: nothing that matters depends on a message arriving once."""

from __future__ import annotations

import os

from celery import Celery
from celery.signals import setup_logging
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sentinel.settings")

INGEST_RANGE = "sentinel.ingest_range"

app = Celery("sentinel", task_cls="sentinel.request:Task")
app.conf.update(
    broker_url=settings.REDIS_URL,
    # A hung Redis otherwise blocks apply_async for ever.
    broker_transport_options={
        "socket_timeout": settings.REDIS_SOCKET_TIMEOUT_SECONDS,
        "socket_connect_timeout": settings.REDIS_SOCKET_TIMEOUT_SECONDS,
        # A connection that is half open is given up after twice as many seconds.
        "health_check_interval": 10,
        "visibility_timeout": 3600,
        "queue_order_strategy": "sentinel.turns:Turns",
        "global_keyprefix": f"sentinel:{settings.SENTINEL_INSTALLATION}:",
    },
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    # A full Redis refuses what a worker writes when it takes a task; the worker would end.
    broker_channel_error_retry=True,
    worker_consumer="sentinel.consumer:Consumer",
    worker_pool="sentinel.pool:TaskPool",
    # On a busy machine a process takes long to start; killing it starts it anew, which takes no less.
    worker_proc_alive_timeout=30.0,
    task_publish_retry=False,
    result_backend=None,
    task_ignore_result=True,
    task_acks_late=False,
    # A busy worker must not reserve tasks that an idle one could run.
    worker_disable_prefetch=True,
    worker_prefetch_multiplier=1,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_send_task_events=False,
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
    task_time_limit=settings.SENTINEL_TASK_TIME_LIMIT_SECONDS,
    task_default_queue=settings.SENTINEL_QUEUE_INGEST,
    # Unregistered task names are discarded, so the queue's name carries a version.
    task_routes={
        INGEST_RANGE: {"queue": settings.SENTINEL_QUEUE_INGEST},
        "sentinel.housekeeping.*": {"queue": settings.SENTINEL_QUEUE_BEAT},
    },
    task_serializer="json",
    accept_content=["json"],
    timezone="UTC",
    beat_schedule={
        "ensure-partitions": {"task": "sentinel.housekeeping.ensure_partitions", "schedule": 3600.0},
        "drop-expired": {"task": "sentinel.housekeeping.drop_expired", "schedule": 3600.0},
        "checkpoint-idle": {"task": "sentinel.housekeeping.checkpoint_idle", "schedule": 60.0},
        "measure-outbox": {"task": "sentinel.housekeeping.measure_outbox", "schedule": 15.0},
        "report-stalled": {"task": "sentinel.housekeeping.report_stalled", "schedule": 30.0},
        "report-scattered": {"task": "sentinel.housekeeping.report_scattered", "schedule": 600.0},
    },
)
app.autodiscover_tasks(["sentinel"], related_name="tasks")


@setup_logging.connect
def keep_django_logging(**_: object) -> None:
    """Keep `settings.LOGGING`: Celery would otherwise replace the handlers."""
