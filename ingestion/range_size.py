"""How long a range may be: shorter where a producer sends what is no event.

A rejected record costs several times an accepted one, and one that is kept as a dead letter more. Ranges of all tenants
wait for the same few processes; whoever sends rejects shall not hold a process for longer than the others do.
Where a range ends changes nothing of what is stored.
"""

from __future__ import annotations

# A range ends with so many rejects: about as much work as an ordinary range of 3,000 records.
MAX_REJECTED = 1_000


def next_range_records(*, most: int, records: int, rejected: int) -> int:
    """Return how many records to take next, at most `most`, where of the last `records` so many were rejected.

    As many as hold `MAX_REJECTED` rejects at the same share: more would be read in vain.
    """
    if not rejected:
        return most
    return max(1, min(most, MAX_REJECTED * records // rejected))
