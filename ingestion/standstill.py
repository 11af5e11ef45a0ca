"""Something that stands still, and when to say so: after a while, and then again and again."""

from __future__ import annotations

from dataclasses import dataclass

REPEAT_SECONDS = 30.0


@dataclass(slots=True)
class Standstill:
    """The offset at which something was seen to stand, since when, and when that was said last (monotonic seconds)."""

    offset: int
    since: float
    said_at: float = float("-inf")

    def has_lasted(self, now: float, seconds: float) -> bool:
        """Tell whether it has stood there for so long."""
        return now - self.since >= seconds

    def is_due(self, now: float, *, after_seconds: float) -> bool:
        """Tell whether to say it now; whoever asks then says it."""
        if not self.has_lasted(now, after_seconds) or now - self.said_at < REPEAT_SECONDS:
            return False
        self.said_at = now
        return True
