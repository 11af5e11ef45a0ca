from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sentinel.services import kafka_archive
from sentinel.services.base import ServiceUnavailable
from sentinel.services.kafka import Kafka, find_java, java_version


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a directory that is the whole PATH."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return directory


def write_program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_without_java_the_hint_says_what_to_install(programs: Path, tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailable, match=r"Java is not installed.*openjdk.*SENTINEL_BROKERS"):
        Kafka(tmp_path, port=1).prepare()


@pytest.mark.parametrize(("line", "release"), [('openjdk version "11.0.2"', 11), ('java version "1.8.0_292"', 8)])
def test_a_java_that_is_too_old_is_refused(programs: Path, line: str, release: int) -> None:
    write_program(programs / "java", f"echo '{line}' >&2")
    assert java_version(str(programs / "java")) == release
    with pytest.raises(ServiceUnavailable, match=f"Java {release} is too old"):
        find_java()


def test_java_home_comes_before_the_path(programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "jdk"
    (home / "bin").mkdir(parents=True)
    write_program(home / "bin" / "java", "echo 'openjdk version \"21\"' >&2")
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert find_java() == str(home / "bin" / "java")


def test_without_maven_the_hint_says_what_to_install(programs: Path) -> None:
    with pytest.raises(ServiceUnavailable, match=r"Maven.*package maven.*SENTINEL_BROKERS"):
        kafka_archive.ensure_jars()


def test_a_fetch_that_fails_leaves_nothing_and_says_why(programs: Path) -> None:
    write_program(programs / "mvn", "echo 'Could not resolve dependencies'; exit 1")
    with pytest.raises(ServiceUnavailable, match="Could not resolve dependencies"):
        kafka_archive.ensure_jars()
    assert list(kafka_archive.cache_directory().parent.iterdir()) == []


def test_jars_are_fetched_once(programs: Path, tmp_path: Path) -> None:
    for tool in ("mkdir", "touch"):
        (programs / tool).symlink_to(shutil.which(tool, path="/usr/bin:/bin") or "")
    count = tmp_path / "count"
    write_program(programs / "mvn", f"echo fetched >> {count}; mkdir jars; touch jars/kafka_2.13.jar")
    first = kafka_archive.ensure_jars()
    assert kafka_archive.ensure_jars() == first == kafka_archive.cache_directory()
    assert [path.name for path in first.iterdir()] == ["kafka_2.13.jar"]
    assert count.read_text() == "fetched\n"


def test_two_fetches_at_once_leave_one_complete_set(programs: Path) -> None:
    for tool in ("mkdir", "touch"):
        (programs / tool).symlink_to(shutil.which(tool, path="/usr/bin:/bin") or "")
    jars = kafka_archive.cache_directory()
    write_program(programs / "mvn", f"mkdir -p jars {jars}; touch jars/kafka_2.13.jar {jars}/kafka_2.13.jar")
    assert [path.name for path in kafka_archive.ensure_jars().iterdir()] == ["kafka_2.13.jar"]
