"""Row 13: Redis takes a task and the answer is lost: the sender believes that nothing was sent, and sends again."""

from __future__ import annotations

import time

import pytest

from tests.faults.arena import Arenas
from tests.faults.proxy import Proxy

pytestmark = pytest.mark.fault

ROUNDS = 20
ROUND_SECONDS = 0.3
BOUND_SECONDS = 5.0


def test_row_13_a_task_that_was_sent_twice_is_ingested_once(arenas: Arenas) -> None:
    with (
        Proxy() as proxy,
        arenas.open(row="13", fault="Redis answers a publish, and nobody hears it", roles=[]) as arena,
    ):
        links = {
            name: proxy.link(("127.0.0.1", arena.servers.redis.service.port or 0)) for name in ("bridge", "worker")
        }
        for name, link in links.items():
            url = arena.servers.redis.url.replace(arena.servers.redis.service.address or "", f"127.0.0.1:{link.port}")
            arena.start(name, environment={"REDIS_URL": url})
        arena.start_load(per_second=1_500)
        with arena.fault() as fault:
            for number in range(ROUNDS):
                links["bridge"].lose_answers()
                if number % 5 == 0:
                    links["worker"].lose_answers()
                time.sleep(ROUND_SECONDS)
        unsent = arena.lines("bridge", "range.unsent") + arena.lines("worker", "range.unsent")
        committed_unsent = arena.witness.value(
            "SELECT count(*) FROM ingestion_batch b JOIN ingestion_batch n ON n.cursor_id = b.cursor_id "
            "AND n.start_offset = b.end_offset WHERE n.attempt > b.attempt + 1"
        )
        fault.note(f"{len(unsent)} times told unsent, {committed_unsent} attempts overtaken")
        figures = arena.finish()
    assert unsent
    assert committed_unsent
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS * arena.slowness
