"""Named places between two steps of bridge and worker where a test can kill, stop, delay or break the process.

`SENTINEL_FAILPOINTS` arms them: `before_commit=kill`, `after_read=sleep(2):nth=3`, `after_send=raise:p=0.1`, several
separated by semicolons. Where the variable is not set, `failpoint` is a function that does nothing.

Actions: `kill` (SIGKILL), `signal(NAME)`, `freeze` (SIGSTOP), `sleep(SECONDS)`, `burn(SECONDS)` of CPU inside C, `raise`
(`FailpointError`), `memory` (`MemoryError`), `pass` (only traced). Conditions: `nth=N` (the Nth hit of a process),
`p=PROBABILITY`, `once` (one process only: needs `SENTINEL_FAILPOINTS_DIR`). With that directory every hit that acts is
written to `hits.log` there: time, process, name.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "SENTINEL_FAILPOINTS"
DIRECTORY_VARIABLE = "SENTINEL_FAILPOINTS_DIR"

POINTS = frozenset(
    {
        # The worker, in the order of one range.
        "before_lock", "after_lock", "after_start", "after_read", "after_decode", "after_scrub",
        "before_transaction", "after_lock_position", "after_load_state", "before_copy", "after_copy", "after_late",
        "after_detect", "after_outbox", "after_rollups", "after_dead_letters", "after_batch", "after_checkpoint",
        "before_commit", "after_commit", "before_redis", "after_redis", "before_unlock", "before_send", "after_send",
        # The bridge, in the order of one step.
        "after_discover", "after_cursors", "after_ends", "before_dispatch", "after_dispatch", "before_publish",
        "after_publish", "before_wait", "before_seek", "before_gap", "after_gap",
    }
)  # fmt: skip


class FailpointError(Exception):
    """Raised where a failpoint says `raise`."""


class FailpointSyntaxError(ValueError):
    """`SENTINEL_FAILPOINTS` names an unknown point, action or condition."""


_SPEC = re.compile(r"(?P<name>\w+)=(?P<action>[a-z]+)(\((?P<argument>[\w.]+)\))?(?P<conditions>(:[\w.=]+)*)\Z")
_ACTIONS = frozenset({"kill", "signal", "freeze", "sleep", "burn", "raise", "memory", "pass"})


@dataclass(frozen=True, slots=True)
class Failpoint:
    """One armed point."""

    name: str
    action: str
    argument: str = ""
    nth: int = 0
    probability: float = 1.0
    once: bool = False


def parse(text: str) -> dict[str, Failpoint]:
    """Return the armed points by name; raise `FailpointSyntaxError` saying what is wrong."""
    found = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        match = _SPEC.match(part)
        if match is None or match["action"] not in _ACTIONS:
            raise FailpointSyntaxError(
                f"{VARIABLE}: {part!r} is not name=action; actions: {', '.join(sorted(_ACTIONS))}"
            )
        if match["name"] not in POINTS:
            raise FailpointSyntaxError(f"{VARIABLE}: there is no point {match['name']!r}: {', '.join(sorted(POINTS))}")
        conditions = dict(item.partition("=")[::2] for item in filter(None, match["conditions"].split(":")))
        if unknown := set(conditions) - {"nth", "p", "once"}:
            raise FailpointSyntaxError(f"{VARIABLE}: unknown condition {', '.join(sorted(unknown))} in {part!r}")
        found[match["name"]] = Failpoint(
            match["name"],
            match["action"],
            match["argument"] or "",
            nth=int(conditions.get("nth", 0)),
            probability=float(conditions.get("p", 1.0)),
            once="once" in conditions,
        )
    return found


class Failpoints:
    """The armed points of this process; counts hits per process, also after a fork."""

    def __init__(self, points: dict[str, Failpoint], *, directory: Path | None = None) -> None:
        self._points = points
        self._directory = directory
        self._hits: Counter[tuple[int, str]] = Counter()

    def __call__(self, name: str) -> None:
        """Act if the point is armed and its conditions hold."""
        point = self._points.get(name)
        if point is None:
            return
        self._hits[os.getpid(), name] += 1
        if point.nth and self._hits[os.getpid(), name] != point.nth:
            return
        if point.probability < 1.0 and random.random() >= point.probability:
            return
        if point.once and not self._first(point):
            return
        self._trace(point)
        _act(point)

    def _first(self, point: Failpoint) -> bool:
        if self._directory is None:
            raise FailpointSyntaxError(f"{point.name}: `once` needs {DIRECTORY_VARIABLE}")
        try:
            (self._directory / f"{point.name}.once").open("x").close()
        except FileExistsError:
            return False
        return True

    def _trace(self, point: Failpoint) -> None:
        if self._directory is not None:
            with (self._directory / "hits.log").open("a") as file:
                file.write(f"{time.time():.3f} {os.getpid()} {point.name} {point.action}\n")


def _act(point: Failpoint) -> None:
    match point.action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "signal":
            os.kill(os.getpid(), signal.Signals[point.argument])
        case "freeze":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "sleep":
            time.sleep(float(point.argument))
        case "burn":
            _burn(float(point.argument))
        case "memory":
            raise MemoryError(point.name)
        case "raise":
            raise FailpointError(point.name)


def _burn(seconds: float) -> None:
    """Use CPU inside C, where no Python signal handler runs."""
    deadline = time.process_time() + seconds
    while time.process_time() < deadline:
        pow(3, 2_000_000)


def _nothing(name: str) -> None:
    """Do nothing: no failpoint is armed."""


def _armed() -> Failpoints | None:
    if not (text := os.environ.get(VARIABLE)):
        return None
    directory = os.environ.get(DIRECTORY_VARIABLE)
    return Failpoints(parse(text), directory=Path(directory) if directory else None)


failpoint = _armed() or _nothing
