from __future__ import annotations

import stat
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from sentinel import ports
from sentinel.services.base import ServiceUnavailable, run_service
from sentinel.services.redis import Redis, find_program


def test_redis_lets_only_the_holder_of_the_password_in(tmp_path: Path) -> None:
    service = Redis(tmp_path, port=ports.any_free_port())
    child = run_service(service, log_directory=tmp_path)
    with redis.Redis.from_url(service.url) as client:
        assert client.ping()
    with (
        redis.Redis(host=ports.LOOPBACK, port=service.port, retry=Retry(NoBackoff(), 0)) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()
    assert service.address in service.url
    assert "@" not in service.address
    assert child.stop()
    assert not service.is_ready()


def test_the_configuration_with_the_password_is_for_the_owner_alone(tmp_path: Path) -> None:
    service = Redis(tmp_path, port=ports.any_free_port())
    service.prepare()
    for name in ("redis.conf", "password"):
        assert stat.S_IMODE((tmp_path / "redis" / name).stat().st_mode) == 0o600
    assert service.url == Redis(tmp_path, port=service.port).url


def test_redis_writes_nothing_to_disk(tmp_path: Path) -> None:
    service = Redis(tmp_path, port=ports.any_free_port())
    child = run_service(service, log_directory=tmp_path)
    with redis.Redis.from_url(service.url) as client:
        client.set("key", "value")
    child.stop()
    assert sorted(path.name for path in (tmp_path / "redis").iterdir()) == ["password", "redis.conf"]


def test_a_machine_without_redis_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentinel.services.redis.PROGRAMS", ("no-such-server",))
    with pytest.raises(ServiceUnavailable, match=r"redis-server.*REDIS_URL"):
        find_program()
