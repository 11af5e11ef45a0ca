"""Scrub what HTTP received before it reaches the log, with the scrubber that the workers use."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue

from ingestion.scrub.events import scrub_events

from ingestion.models import Project
from ingestion.scrub import Scrubber
from ingestion.validate import Accepted


class ScrubberPool:
    """The scrubbers of this process, by pseudonym key.

    A scrubber serves one thread at a time and takes some 10 ms to build, while ASGI runs each request in a thread of
    its own: they are lent and given back.
    """

    def __init__(self) -> None:
        self._idle: defaultdict[bytes | None, SimpleQueue[Scrubber]] = defaultdict(SimpleQueue)

    @contextmanager
    def lend(self, key: bytes | None) -> Iterator[Scrubber]:
        """Lend a scrubber for the length of the block. One that raised is thrown away."""
        idle = self._idle[key]
        try:
            scrubber = idle.get_nowait()
        except Empty:
            scrubber = Scrubber(key=key)
        yield scrubber
        idle.put(scrubber)


_pool = ScrubberPool()


def scrub(accepted: Sequence[Accepted], project: Project) -> list[Accepted]:
    """Return the events without personal data and secrets, in the same order."""
    key = bytes(project.pseudonym_key) if project.pseudonymise else None
    with _pool.lend(key) as scrubber:
        return [item for item, _counts in scrub_events(accepted, scrubber)]
