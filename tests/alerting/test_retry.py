from __future__ import annotations

from datetime import UTC, datetime

import pytest

from alerting.reasons import FailureReason
from alerting.retry import delay_seconds, judge_status, parse_retry_after

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def test_delays_double_from_one_second_to_thirty() -> None:
    assert [delay_seconds(n, jitter=0.0) for n in range(1, 9)] == [1, 2, 4, 8, 16, 30, 30, 30]
    assert delay_seconds(10_000, jitter=0.0) == 30


def test_jitter_adds_at_most_a_quarter() -> None:
    assert delay_seconds(3, jitter=0.5) == pytest.approx(4.5)
    assert delay_seconds(3, jitter=1.0) == pytest.approx(5.0)


def test_what_the_receiver_asks_for_is_a_lower_bound() -> None:
    assert delay_seconds(1, jitter=0.0, retry_after_seconds=90.0) == 90.0
    assert delay_seconds(3, jitter=0.0, retry_after_seconds=1.0) == 4.0


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_an_acknowledgement(status: int) -> None:
    assert judge_status(status) is None


@pytest.mark.parametrize(
    ("status", "reason", "retryable"),
    [
        (101, FailureReason.BAD_RESPONSE, True),
        (301, FailureReason.REDIRECT, False),
        (302, FailureReason.REDIRECT, False),
        (307, FailureReason.REDIRECT, False),
        (400, FailureReason.CLIENT_ERROR, False),
        (401, FailureReason.CLIENT_ERROR, False),
        (404, FailureReason.CLIENT_ERROR, False),
        (408, FailureReason.TIMEOUT, True),
        (410, FailureReason.GONE, False),
        (421, FailureReason.CLIENT_ERROR, True),
        (425, FailureReason.CLIENT_ERROR, True),
        (429, FailureReason.RATE_LIMITED, True),
        (500, FailureReason.SERVER_ERROR, True),
        (501, FailureReason.SERVER_ERROR, False),
        (503, FailureReason.SERVER_ERROR, True),
        (505, FailureReason.SERVER_ERROR, False),
        (599, FailureReason.SERVER_ERROR, True),
        (999, FailureReason.BAD_RESPONSE, False),
    ],
)
def test_every_other_status_has_a_reason_and_a_verdict(status: int, reason: FailureReason, retryable: bool) -> None:
    assert judge_status(status) == (reason, retryable)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("99999999999999999999", 3600.0),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("Fri, 02 Jan 2026 12:00:00 GMT", 3600.0),
        ("-3", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_bounded(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, now=NOW) == seconds
