"""An outage of the broker ends with the outage: the process that lived through it appends again."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid

import pytest
from kafka.producer.sender import Sender

from ingestion.log.base import LogUnavailable, NewRecord
from ingestion.log.kafka import KafkaAppender, KafkaLog
from tests.services import KafkaBroker

pytestmark = pytest.mark.slow

REQUEST_SECONDS = 2.0


def test_appending_works_again_after_an_outage_longer_than_the_delivery_timeout(kafka: KafkaBroker) -> None:
    brokers = kafka.brokers.split(",")
    topic = f"outage-{uuid.uuid4()}"
    log = KafkaLog(brokers, security={}, request_timeout_seconds=10)
    log.create_topics([topic], partitions=1)
    log.close()
    appender = KafkaAppender(brokers, security={}, request_timeout_seconds=REQUEST_SECONDS)
    appender.append(topic, [NewRecord(None, b"before")], timeout_seconds=10)

    stop = threading.Event()

    def keep_appending() -> None:
        while not stop.is_set():
            with contextlib.suppress(LogUnavailable):
                appender.append(topic, [NewRecord(None, b"during")], timeout_seconds=REQUEST_SECONDS)

    # Requests are under way when the broker dies: theirs is the batch that expires after it was sent.
    threads = [threading.Thread(target=keep_appending) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    kafka.kill()
    time.sleep(3 * REQUEST_SECONDS + 2)
    stop.set()
    for thread in threads:
        thread.join()
    kafka.restart()

    deadline = time.monotonic() + 30
    while True:
        try:
            appender.append(topic, [NewRecord(None, b"after")], timeout_seconds=REQUEST_SECONDS)
            break
        except LogUnavailable:
            assert time.monotonic() < deadline, "the appender never recovered"
    appender.close()


def test_a_producer_that_cannot_flush_any_more_is_ended_all_the_same(kafka: KafkaBroker) -> None:
    brokers = kafka.brokers.split(",")
    topic = f"outage-{uuid.uuid4()}"
    log = KafkaLog(brokers, security={}, request_timeout_seconds=10)
    log.create_topics([topic], partitions=1)
    log.close()
    before = senders()
    # So patient a producer holds its records for longer than its closing waits for them.
    appender = KafkaAppender(brokers, security={}, request_timeout_seconds=60)
    appender.append(topic, [NewRecord(None, b"before")], timeout_seconds=10)
    assert senders() - before

    kafka.kill()
    try:
        with pytest.raises(LogUnavailable):
            appender.append(topic, [NewRecord(None, b"during")], timeout_seconds=0.5)
        for thread in senders() - before:
            thread.join(timeout=20)
        assert not senders() - before
    finally:
        kafka.restart()
        appender.close()


def senders() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if isinstance(thread, Sender)}
