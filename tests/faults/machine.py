"""How fast the machine is now: virtual ones share their cores with others whom nobody here sees."""

from __future__ import annotations

import json
import statistics
import time

# Of the machine on which the bounds were set.
USUAL_SECONDS = 0.016
_DOCUMENT = {"text": "x" * 50, "numbers": list(range(40))}


def cpu_slowness() -> float:
    """Return how much more CPU time than usual the same work takes; the load of the machine does not count."""
    return statistics.median(_work() for _ in range(5)) / USUAL_SECONDS


def _work() -> float:
    began = time.thread_time()
    for _ in range(2_000):
        json.loads(json.dumps(_DOCUMENT))
    return time.thread_time() - began
