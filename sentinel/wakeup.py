"""Waiting for whichever comes first: a signal, the end of a child, or a time."""

from __future__ import annotations

import os
import select
import signal
from types import FrameType
from typing import Any

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Wakeup:
    """Counts the requests to stop and wakes a waiting main thread at once, without polling; a context manager."""

    def __init__(self) -> None:
        self.stop_requests = 0
        self._reader, self._writer = os.pipe()
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Wakeup:
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in STOP_SIGNALS:
            self._previous[number] = signal.signal(number, self._request_stop)
        # The handler does nothing: that there is one makes the kernel's message reach the pipe.
        self._previous[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)

    def _request_stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stop_requests += 1

    def wait(self, timeout_seconds: float) -> None:
        """Return when a signal has come, a child has ended, or the time is over."""
        if select.select([self._reader], [], [], timeout_seconds)[0]:
            os.read(self._reader, 4096)
