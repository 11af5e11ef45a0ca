"""Ingest a whole topic again, undisturbed: one pipeline in one process, into the empty database of DATABASE_URL.

Run as `python -m tests.faults.reference`, with the settings of the installation whose Kafka is read.
"""

from __future__ import annotations

import os

import django


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "sentinel.settings"
    django.setup()

    from django.conf import settings
    from django.core.management import call_command

    from detection.baselines import BaselineStore
    from ingestion import cursor as cursors
    from ingestion.log.configured import open_log
    from ingestion.models import PartitionCursor, Project
    from sentinel.outcome import Outcome
    from sentinel.pipeline import Pipeline

    call_command("prepare")
    log = open_log()
    pipeline = Pipeline(log=log, baselines=BaselineStore(), send=lambda _task: None)
    for item in log.partitions([settings.SENTINEL_TOPIC]):
        cursor = PartitionCursor.objects.create(
            project=Project.objects.get(slug="default"),
            cluster_id=item.cluster_id,
            topic_id=item.topic_id,
            topic=item.topic,
            partition=item.partition,
        )
        end = log.end_offsets([(item.topic, item.partition)])[item.topic, item.partition]
        while cursor.next_offset < end:
            task = cursors.dispatch(cursor, end=min(end, cursor.next_offset + settings.SENTINEL_BATCH_RECORDS))
            assert task is not None
            outcome = pipeline.ingest(task)
            assert outcome is Outcome.COMMITTED, outcome
            cursor.refresh_from_db()
    log.close()


if __name__ == "__main__":
    main()
