"""How far a long command has come: a bar on a terminal, a line now and then elsewhere; always on standard error."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_EVERY_SECONDS = 5.0


class Advance(Protocol):
    """Called with the number of items done since the last call."""

    def __call__(self, count: int) -> None: ...


@contextmanager
def progress(title: str, *, total: int, is_quiet: bool = False) -> Iterator[Advance]:
    """Show progress towards `total` while the block runs."""
    console = Console(stderr=True)
    if is_quiet:
        yield lambda count: None
    elif console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as bar:
            task = bar.add_task(title, total=total)
            yield lambda count: bar.advance(task, count)
    else:
        yield _Lines(console, title, total)


class _Lines:
    def __init__(self, console: Console, title: str, total: int) -> None:
        self._console, self._title, self._total = console, title, total
        self._done = 0
        self._said_at = time.monotonic()

    def __call__(self, count: int) -> None:
        self._done += count
        if time.monotonic() - self._said_at >= LINE_EVERY_SECONDS or self._done >= self._total > self._done - count:
            self._said_at = time.monotonic()
            self._console.print(f"{self._title}: {self._done:,} of {self._total:,}", highlight=False)
