"""The log that every case ingests: small, and with everything in it that takes a path of its own."""

from __future__ import annotations

import json
import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

NOW = datetime.now(UTC).replace(microsecond=0)
# Three ranges of 200 over blocks of 256 offsets. The first has no duplicate and is copied straight, the second meets one
# by its copy, the third is staged from the start.
COUNT = 600
TOO_OLD = "2019-01-01T00:00:00Z"


def event(number: int, **fields: Any) -> bytes:
    """Return a valid event of one of three series; the same number gives the same event."""
    rng = random.Random(number)
    body = {
        "event_id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        "timestamp": (NOW - timedelta(minutes=20) + timedelta(milliseconds=400 * number)).isoformat(),
        "service_name": f"service-{number % 3}",
        "model": "gpt-4o",
        "prompt": {"text": f"question {number} of jane.doe@example.com", "tokens": rng.randint(50, 150)},
        "response": {"text": f"answer {number}", "tokens": rng.randint(20, 80), "finish_reason": "stop"},
        "latency_ms": round(rng.lognormvariate(6, 0.3) * (9 if number % 37 == 0 else 1), 3),
        "cost_usd": round(rng.uniform(0.001, 0.002) * (9 if number % 53 == 0 else 1), 6),
        "metadata": {"region": "eu"},
        "errors": ["timeout"] if number % 41 == 0 else [],
        **fields,
    }
    return json.dumps(body).encode()


def record(number: int) -> bytes:
    """Return the record at offset `number` of the log."""
    if number % 200 == 120:
        return b"{not json"
    if number % 200 == 140:
        return event(number, latency_ms=-5)
    if number % 200 == 160:
        return event(number, timestamp=TOO_OLD)
    if number >= 200 and number % 25 == 1:
        return event(number - 32)
    return event(number)


LOG = [record(number) for number in range(COUNT)]
