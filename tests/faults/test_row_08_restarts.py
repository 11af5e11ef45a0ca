"""Row 8: workers are replaced one after the other, as a rolling deploy does, under load."""

from __future__ import annotations

import pytest

from tests.faults.arena import Arenas

pytestmark = [pytest.mark.fault, pytest.mark.slow]

RESTARTS = 20
ONE_PROCESS = ["--concurrency", "1"]
BOUND_SECONDS = 5.0


def test_row_08_a_rolling_restart_fails_no_batch_and_loses_no_task(arenas: Arenas) -> None:
    names = [f"worker-{number}" for number in range(RESTARTS + 2)]
    with arenas.open(row="08", fault="worker, SIGTERM, rolling", roles=["bridge"]) as arena:
        for name in names[:2]:
            arena.start(name, "worker", arguments=ONE_PROCESS)
        arena.start_load(per_second=600)
        for old, new in zip(names, names[2:], strict=False):
            with arena.fault():
                arena.start(new, "worker", arguments=ONE_PROCESS)
                assert arena.crew.stop(old), f"{old} had to be killed"
        said = "\n".join(line for name in [*names, "bridge"] for line in arena.lines(name, "[") if "[info" not in line)
        figures = arena.finish()
    assert "ingest.attempt_failed" not in said
    assert "bridge.dispatch_again" not in said, said
    assert figures.standstill_max_seconds is not None
    assert figures.standstill_max_seconds <= BOUND_SECONDS * arena.slowness
