"""The servers that the other tests rely on."""

from __future__ import annotations

import pytest
import redis
from django.conf import settings
from django.db import connection
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.services import KafkaBroker, RedisServer


@pytest.mark.django_db
def test_the_database_is_a_real_postgres_of_the_test_session() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database(), current_user, current_setting('server_version_num')::int")
        database, user, version = cursor.fetchone()
    assert (database, user) == ("test_sentinel", "sentinel")
    assert version >= 150_000


def test_redis_is_empty_for_every_test_and_is_the_one_in_the_settings(redis_url: str) -> None:
    assert redis_url == settings.REDIS_URL
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")


def test_redis_may_be_killed_and_comes_back_empty_at_the_same_address(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url, retry=Retry(NoBackoff(), 0)) as client:
        client.set("key", "value")
        redis_server.kill()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        redis_server.restart()
        assert client.get("key") is None


def test_kafka_keeps_its_records_over_a_kill(kafka: KafkaBroker) -> None:
    from kafka import KafkaConsumer, KafkaProducer

    topic = kafka.new_topic(partitions=2)
    producer = KafkaProducer(bootstrap_servers=kafka.brokers, acks="all")
    producer.send(topic, b"first").get(timeout=30)
    producer.close()
    kafka.kill()
    kafka.restart()
    consumer = KafkaConsumer(
        topic, bootstrap_servers=kafka.brokers, auto_offset_reset="earliest", consumer_timeout_ms=30_000
    )
    assert next(iter(consumer)).value == b"first"
    consumer.close()


def test_a_fresh_topic_has_the_partitions_asked_for(kafka: KafkaBroker) -> None:
    from kafka import KafkaConsumer

    consumer = KafkaConsumer(bootstrap_servers=kafka.brokers)
    assert consumer.partitions_for_topic(kafka.new_topic(partitions=3)) == {0, 1, 2}
    consumer.close()
