"""Ask the events table whether what was sent is stored, once."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection

from sentinel.demo.replay import MASK_64, SentRow

CHUNK_ROWS = 5_000
POLL_SECONDS = 0.5

# 64 bits as a signed number differ from the unsigned ones by a multiple of 2^64, which the checksum drops.
FOUND = """
SELECT sent.place, count(*), sum(('x' || left(replace(e.event_id::text, '-', ''), 16))::bit(64)::bigint)
FROM unnest(%s::int[], %s::uuid[], %s::bigint[]) AS sent(place, event_id, timestamp_us)
JOIN events e
  ON e.event_id = sent.event_id AND e.timestamp = timestamptz 'epoch' + sent.timestamp_us * interval '1 microsecond'
WHERE e.project_id = %s
GROUP BY sent.place
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """`rows` found in the table for the sent ones, their checksum, and the first missing ones."""

    rows: int
    checksum: int
    missing: Sequence[SentRow]


def find(sent: Sequence[SentRow], *, project_id: int) -> Stored:
    """Look up distinct identities; one stored twice counts twice."""
    rows = checksum = 0
    missing: list[SentRow] = []
    for start in range(0, len(sent), CHUNK_ROWS):
        chunk = sent[start : start + CHUNK_ROWS]
        with connection.cursor() as cursor:
            ids = [str(row.event_id) for row in chunk]
            cursor.execute(FOUND, [list(range(len(chunk))), ids, [row.timestamp_us for row in chunk], project_id])
            found = cursor.fetchall()
        rows += sum(count for _, count, _ in found)
        checksum += sum(int(part) for _, _, part in found)
        here = {place for place, _, _ in found}
        missing += [row for place, row in enumerate(chunk) if place not in here]
    return Stored(rows, checksum & MASK_64, missing)


def wait_until_stored(sent: Sequence[SentRow], *, project_id: int, timeout_seconds: float) -> Stored:
    """Return once everything is stored, or what is when nothing new came for `timeout_seconds`."""
    missing = sent
    moved_at = time.monotonic()
    while missing and time.monotonic() - moved_at < timeout_seconds:
        still = find(missing[:CHUNK_ROWS], project_id=project_id).missing
        if len(still) < len(missing[:CHUNK_ROWS]):
            moved_at = time.monotonic()
            missing = [*still, *missing[CHUNK_ROWS:]]
        else:
            time.sleep(POLL_SECONDS)
    return find(sent, project_id=project_id)


def project_of_topic(topic: str) -> int:
    """Return the project that the topic feeds; raises `LookupError` for a topic that nobody reads."""
    from ingestion.models import Topic

    project_id = Topic.objects.filter(name=topic).values_list("project_id", flat=True).first()
    if project_id is None:
        raise LookupError(f"topic {topic} belongs to no project, so nobody reads it")
    return project_id


def find_event(event_id: uuid.UUID, timestamp_us: int, *, project_id: int) -> bool:
    """Whether one event is stored."""
    return not find([SentRow(event_id, timestamp_us)], project_id=project_id).missing
