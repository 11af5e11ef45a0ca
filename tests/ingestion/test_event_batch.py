"""Taking events out of a batch keeps their places together."""

from ingestion.event_batch import EventBatch
from tests.ingestion.test_lateness import LOG_TIME, batch_at


def test_taking_all_in_another_order_reorders_every_sequence() -> None:
    batch = batch_at([LOG_TIME, LOG_TIME, LOG_TIME])
    taken = batch.take([2, 0, 1])
    assert list(taken.offsets) == [2, 0, 1]
    assert [item.event_id for item in taken.accepted] == [batch.accepted[place].event_id for place in (2, 0, 1)]


def test_taking_all_in_order_is_the_batch_itself() -> None:
    batch = batch_at([LOG_TIME, LOG_TIME])
    assert batch.take([0, 1]) is batch
    assert batch.take(range(2)) is batch


def test_an_empty_batch_has_no_series() -> None:
    assert EventBatch(1, [], [], [], []).series_keys == []
