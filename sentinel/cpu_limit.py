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
    soft = math.ceil(_used_seconds()) + seconds
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, (before, hard))


@contextmanager
def cpu_uncounted() -> Iterator[None]:
    """Let the block use as much as it needs: what it does is no record's fault, and takes its time on any."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if soft == resource.RLIM_INFINITY:
        yield
        return
    before_seconds = _used_seconds()
    resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))
    try:
        yield
    finally:
        soft += math.ceil(_used_seconds() - before_seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _used_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
