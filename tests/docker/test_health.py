"""The image's health check finds out by itself which process it watches."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from sentinel.processes import PROCESSES


@pytest.fixture(scope="module")
def health() -> ModuleType:
    spec = importlib.util.spec_from_file_location("health", Path(__file__).parents[2] / "docker" / "health.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("role", [process.name for process in PROCESSES])
def test_every_process_is_recognised_behind_an_init(health: ModuleType, role: str) -> None:
    assert health.role_of(f"/sbin/docker-init\0--\0sentinel\0{role}\0--port\x008080\0".encode()) == role


def test_a_command_that_ends_is_not_watched(health: ModuleType) -> None:
    assert health.role_of(b"/sbin/docker-init\0--\0python\0-m\0django\0prepare\0") is None


def test_a_web_process_that_does_not_answer_is_unhealthy(health: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "WEB_PORT", 1)
    with pytest.raises(OSError, match="refused"):
        health.web("web")
