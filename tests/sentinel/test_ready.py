from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.ready import ReadinessSocket, notify_ready


def test_a_notification_arrives_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = ReadinessSocket(tmp_path / "socket")
    monkeypatch.setenv("NOTIFY_SOCKET", str(listener.path))
    assert not listener.was_notified()
    notify_ready()
    assert listener.was_notified()
    assert not listener.was_notified()
    listener.close()


def test_without_anyone_listening_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify_ready()
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    notify_ready()
