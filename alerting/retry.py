"""When a failed attempt is tried again: the table of HTTP statuses, and the schedule."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from alerting.reasons import FailureReason

INITIAL_DELAY_SECONDS = 1.0
BACKOFF_MULTIPLIER = 2.0
MAX_DELAY_SECONDS = 30.0
# A receiver may ask for a longer pause than our schedule has, but not for one that outlives the incident.
MAX_RETRY_AFTER_SECONDS = 3600.0
# Up to this part is added to a delay, so that workers that failed together do not come back together.
JITTER = 0.25

# status: (reason, whether another attempt can help); everything else is judged by its hundreds
_STATUSES: Mapping[int, tuple[FailureReason, bool]] = {
    408: (FailureReason.TIMEOUT, True),
    410: (FailureReason.GONE, False),
    421: (FailureReason.CLIENT_ERROR, True),
    425: (FailureReason.CLIENT_ERROR, True),
    429: (FailureReason.RATE_LIMITED, True),
    501: (FailureReason.SERVER_ERROR, False),
    505: (FailureReason.SERVER_ERROR, False),
}
_HUNDREDS: Mapping[int, tuple[FailureReason, bool]] = {
    1: (FailureReason.BAD_RESPONSE, True),
    3: (FailureReason.REDIRECT, False),
    4: (FailureReason.CLIENT_ERROR, False),
    5: (FailureReason.SERVER_ERROR, True),
}


def judge_status(status: int) -> tuple[FailureReason, bool] | None:
    """Return None for success (2xx), otherwise the reason and whether another attempt can help."""
    if 200 <= status <= 299:
        return None
    return _STATUSES.get(status) or _HUNDREDS.get(status // 100) or (FailureReason.BAD_RESPONSE, False)


def parse_retry_after(value: str | None, *, now: datetime) -> float | None:
    """Return the seconds of a `Retry-After` header (RFC 9110, 10.2.3), None where it is absent or unreadable."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:10]), MAX_RETRY_AFTER_SECONDS)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 0.0), MAX_RETRY_AFTER_SECONDS)


def delay_seconds(attempt: int, *, jitter: float, retry_after_seconds: float | None = None) -> float:
    """Return how long to wait after failed attempt number `attempt` (from 1): 1, 2, 4 … 30 s, plus up to a quarter.

    `jitter` is a random number in [0, 1). What the receiver asked for is a lower bound.
    """
    exponent = min(attempt - 1, 30)
    delay = min(INITIAL_DELAY_SECONDS * BACKOFF_MULTIPLIER**exponent, MAX_DELAY_SECONDS)
    return max(delay, retry_after_seconds or 0.0) * (1.0 + JITTER * jitter)
