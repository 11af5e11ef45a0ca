from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.services.embedded import plan_services, public_address


def names(directory: Path, **options: object) -> list[str]:
    plan = plan_services(directory, **{"with_kafka": True, "environment": {}, **options})  # type: ignore[arg-type]
    return [service.name for service in plan.embedded]


def test_all_services_are_brought_along_by_default(tmp_path: Path) -> None:
    assert names(tmp_path) == ["postgres", "redis", "kafka"]
    assert names(tmp_path, with_kafka=False) == ["postgres", "redis"]


@pytest.mark.parametrize(
    ("variable", "value", "name"),
    [
        ("DATABASE_URL", "postgresql://u:p@db.example:5433/sentinel", "postgres"),
        ("REDIS_URL", "redis://:p@cache.example:6379/0", "redis"),
        ("SENTINEL_BROKERS", "a.example:9092,b.example:9092", "kafka"),
    ],
)
def test_each_variable_replaces_one_service(tmp_path: Path, variable: str, value: str, name: str) -> None:
    plan = plan_services(tmp_path, with_kafka=True, environment={variable: value})
    assert name not in [service.name for service in plan.embedded]
    assert [external for external, _ in plan.external] == [name]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (
            "postgresql://user:password@db.example:5433/sentinel?sslmode=require",
            "postgresql://db.example:5433/sentinel",
        ),
        ("redis://:password@cache.example/0", "redis://cache.example/0"),
        ("postgresql:///sentinel?host=/run/postgresql", "postgresql://local socket/sentinel"),
        ("a.example:9092,b.example:9092", "a.example:9092,b.example:9092"),
    ],
)
def test_an_address_is_shown_without_user_and_password(value: str, shown: str) -> None:
    assert public_address(value) == shown
