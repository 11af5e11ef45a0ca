"""Which queue a worker looks into first: the partitions that keep up before those that are behind, but not for ever."""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings

# Of so many tasks one may be of a partition that is behind, however many the others have. Ranges of partitions that
# keep up are short, and there is always another: without a share a backlog would never shrink.
TURNS = 10


class Turns:
    """A `queue_order_strategy` of kombu, one per connection that takes tasks."""

    def __init__(self, queues: Iterable[str] = ()) -> None:
        self._queues = list(queues)
        self._since_behind = 0

    def update(self, queues: Iterable[str]) -> None:
        """Take these queues from now on."""
        self._queues = list(queues)

    def consume(self, n: int) -> list[str]:
        """Return the queues in the order in which Redis looks for a task."""
        first_is_behind = self._since_behind >= TURNS - 1
        return sorted(self._queues[:n], key=lambda queue: _is_behind(queue) is not first_is_behind)

    def rotate(self, last_used: str) -> str:
        """Note which queue gave a task."""
        self._since_behind = 0 if _is_behind(last_used) else self._since_behind + 1
        if last_used in self._queues:
            self._queues.remove(last_used)
            self._queues.append(last_used)
        return last_used


def _is_behind(queue: str) -> bool:
    return queue == settings.SENTINEL_QUEUE_BEHIND
