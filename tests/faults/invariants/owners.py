"""Which partition has stored an event that came through several."""

from __future__ import annotations

from collections.abc import Collection

from tests.faults.reference import Place
from tests.faults.witness import Witness


def stored_places(witness: Witness, places: Collection[Place]) -> set[Place]:
    """Return those of `places` whose record is a row of `events`."""
    return _found(witness, places, "events")


def late_places(witness: Witness, places: Collection[Place]) -> set[Place]:
    """Return those of `places` whose record was kept as late."""
    return _found(witness, places, "ingestion_lateevent")


def _found(witness: Witness, places: Collection[Place], table: str) -> set[Place]:
    found: set[Place] = set()
    for cursor in witness.cursor_rows():
        offsets = [place.offset for place in places if place[:2] == cursor.key]
        rows = witness.rows(
            f"SELECT log_offset FROM {table} WHERE cursor_id = %s AND log_offset = ANY(%s)", cursor.id, offsets
        )
        found |= {Place(cursor.topic_id, cursor.partition, offset) for (offset,) in rows}
    return found
