from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ingestion.models import DeadLetter
from ingestion.withheld import why_not_replayed, why_withheld


def letter(**values: Any) -> DeadLetter:
    return DeadLetter(**({"reason": "missing_field", "payload": "{}", "size_bytes": 2} | values))


def test_what_was_kept_is_shown_and_can_be_replayed() -> None:
    assert why_withheld(letter()) is None
    assert why_not_replayed(letter()) is None


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"reason": "killed_worker", "payload": ""}, "it killed its worker: only size and hash are kept"),
        ({"reason": "by_person", "payload": ""}, "a person set it aside unread: only size and hash are kept"),
        (
            {"reason": "over_quota", "records": 1_234, "payload": ""},
            "over the project's quota: 1,234 records counted, none kept",
        ),
        ({"reason": "over_quota", "payload": ""}, "over the project's quota: 1 record counted, none kept"),
        ({"reason": "not_json", "payload": "", "size_bytes": 0}, "it was empty"),
        ({"reason": "stage_failed", "payload": ""}, "it could not be scrubbed: only size and hash are kept"),
    ],
)
def test_what_was_not_kept_says_why(values: dict[str, Any], why: str) -> None:
    assert why_withheld(letter(**values)) == why
    assert why_not_replayed(letter(**values)) == why


def test_a_cut_payload_is_shown_but_not_replayed() -> None:
    assert why_withheld(letter(payload_cut=True)) is None
    assert str(why_not_replayed(letter(payload_cut=True))).startswith("its payload was cut")


def test_a_second_replay_says_when_the_first_was() -> None:
    replayed = letter(status="replayed", replayed_at=datetime(2026, 3, 1, 12, tzinfo=UTC))
    assert why_not_replayed(replayed) == "it was replayed at 2026-03-01 12:00:00 UTC"
