"""A limit to the CPU that a piece of work may use: a regular expression inside C cannot be interrupted otherwise."""

from __future__ import annotations

import math
import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def cpu_limit(*, seconds: int) -> Iterator[None]:
    """Let SIGXCPU end this process once the block has used `seconds` of CPU, in all threads together.

    Up to a second more, as the kernel knows whole seconds only. The hard limit stays what it is.
    """
    before, hard = resource.getrlimit(resource.RLIMIT_CPU)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(usage.ru_utime + usage.ru_stime) + seconds
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, (before, hard))
