from __future__ import annotations

import json

import pytest
from django.conf import settings

from sentinel import diagnosis, ports
from sentinel.diagnosis import Finding, Level
from tests.services import KafkaBroker


def findings_of(name: str) -> list[Finding]:
    return list(diagnosis.PROBES[name]())


def test_every_problem_and_warning_comes_with_its_fix(db: None, redis_url: str, kafka: KafkaBroker) -> None:
    for finding in diagnosis.diagnose():
        assert (finding.fix == "") == (finding.level is Level.OK), finding


def test_a_postgres_that_answers_shows_its_version(db: None) -> None:
    levels = {finding.name: finding.level for finding in findings_of("postgres")}
    assert levels == {"postgres": Level.OK, "migrations": Level.OK}


def test_a_redis_that_answers_shows_its_version(redis_url: str) -> None:
    (finding,) = findings_of("redis")
    assert (finding.level, finding.detail[0].isdigit()) == (Level.OK, True)


def test_a_redis_that_is_away_is_a_problem_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "REDIS_URL", f"redis://127.0.0.1:{ports.any_free_port()}/0")
    (finding,) = findings_of("redis")
    assert finding.level is Level.PROBLEM
    assert "REDIS_URL" in finding.fix


def test_a_kafka_that_is_away_is_a_problem_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "SENTINEL_BROKERS", [f"127.0.0.1:{ports.any_free_port()}"])
    (finding,) = findings_of("log")
    assert (finding.name, finding.level) == ("kafka", Level.PROBLEM)
    assert "SENTINEL_BROKERS" in finding.fix


def test_topics_that_do_not_exist_are_named(kafka: KafkaBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    present = kafka.new_topic()
    monkeypatch.setattr(settings, "SENTINEL_DEFAULT_TOPICS", [present, "missing.topic"])
    reached, missing = findings_of("log")
    assert (reached.level, reached.detail.split(",")[0]) == (Level.OK, "4.2")
    assert (missing.level, missing.detail) == (Level.PROBLEM, "missing: missing.topic")


def test_clocks_that_agree_are_no_problem(db: None, redis_url: str) -> None:
    (finding,) = findings_of("clock")
    assert finding.level is Level.OK


def test_a_clock_that_is_off_is_a_problem(db: None, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "_redis_time", lambda _client: 0.0)
    (finding,) = findings_of("clock")
    assert finding.level is Level.PROBLEM
    assert "NTP" in finding.fix


def test_a_full_disk_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "MINIMUM_FREE_BYTES", 2**80)
    (finding,) = findings_of("disk")
    assert finding.level is Level.PROBLEM


def test_a_probe_that_fails_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> list[Finding]:
        raise ZeroDivisionError("unexpected")

    monkeypatch.setattr(diagnosis, "PROBES", {"first": fail, "second": lambda: iter([diagnosis.ok("second", "fine")])})
    first, second = diagnosis.diagnose()
    assert (first.level, first.detail) == (Level.PROBLEM, "ZeroDivisionError: unexpected")
    assert second.level is Level.OK
    assert json.dumps({"level": second.level}) == '{"level": "ok"}'


def test_every_compression_that_a_producer_may_choose_is_there() -> None:
    (found,) = findings_of("compression")
    assert (found.level, found.detail) == (Level.OK, "gzip, snappy, lz4, zstd")


def test_a_compression_that_cannot_be_read_is_a_problem_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kafka.codec.snappy", None)
    (found,) = findings_of("compression")
    assert (found.level, "snappy" in found.detail, "python-snappy" in found.fix) == (Level.PROBLEM, True, True)
