"""What a worker's child does between its tasks."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Iterator

import psutil
import pytest
from celery.signals import task_postrun

from sentinel import worker_process
from sentinel.worker_process import COLLECT_SECONDS


class Held:
    """Holds itself, like an error that a frame of its own traceback still names."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _no_collection_by_itself() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def test_what_died_in_cycles_is_freed_after_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "_collected_at", time.monotonic() - COLLECT_SECONDS)
    dead = weakref.ref(Held())
    task_postrun.send(sender=None)
    assert dead() is None


def test_not_after_every_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "_collected_at", time.monotonic())
    dead = weakref.ref(Held())
    task_postrun.send(sender=None)
    assert dead() is not None


def test_what_a_long_batch_took_goes_back_to_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "_collected_at", time.monotonic() - COLLECT_SECONDS)
    texts = [bytes(2_000) for _ in range(50_000)]
    stays = texts[::50]
    del texts
    before_bytes = psutil.Process().memory_info().rss
    task_postrun.send(sender=None)
    assert before_bytes - psutil.Process().memory_info().rss > 50_000_000
    assert len(stays) == 1_000
