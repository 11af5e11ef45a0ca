"""Named places between two steps of bridge and worker where a test can kill, stop, delay or break the process.

`SENTINEL_FAILPOINTS` arms them: `before_commit=kill`, `after_read=sleep(2):nth=3`, `after_send=raise:p=0.1`, several
separated by semicolons. Where the variable is not set, `failpoint` is a function that does nothing.

Actions: `kill` (SIGKILL), `signal(NAME)`, `freeze` (SIGSTOP), `sleep(SECONDS)`, `burn(SECONDS)` of CPU inside C, `raise`
(`FailpointError`), `memory` (`MemoryError`), `pass` (only traced). Conditions: `nth=N` (the Nth hit of a process),
`p=PROBABILITY`, `once` (one process only: needs `SENTINEL_FAILPOINTS_DIR`). With that directory every hit that acts is
written to `hits.log` there: time, process, name, action.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "SENTINEL_FAILPOINTS"
DIRECTORY_VARIABLE = "SENTINEL_FAILPOINTS_DIR"

# In the order of one range.
WORKER_POINTS = (
    "before_lock", "after_lock", "after_start", "after_read", "after_decode", "after_scrub",
    "before_transaction", "after_lock_position", "after_load_state", "before_copy", "after_copy", "after_late",
    "after_detect", "after_outbox", "after_rollups", "after_dead_letters", "after_batch", "after_checkpoint",
    "before_commit", "after_commit", "before_redis", "after_redis", "before_unlock", "before_send", "after_send",
)  # fmt: skip
# Only where an attempt ends without a commit: before it says so in its cursor, and after.
FAILURE_POINTS = ("before_end", "after_end")
# In the order of one step; the last three only where a group watches Kafka, or a cursor stands below its log.
BRIDGE_POINTS = (
    "after_discover", "after_cursors", "after_ends", "before_dispatch", "after_dispatch", "before_publish",
    "after_publish", "before_wait", "before_seek", "before_gap", "after_gap",
)  # fmt: skip
POINTS = frozenset((*WORKER_POINTS, *FAILURE_POINTS, *BRIDGE_POINTS))


class FailpointError(Exception):
    """Raised where a failpoint says `raise`."""


class FailpointSyntaxError(ValueError):
    """`SENTINEL_FAILPOINTS` cannot be read, or the code names a point that is none."""


_SPEC = re.compile(r"(?P<name>\w+)=(?P<action>\w+)(\((?P<argument>[^()]*)\))?(?P<conditions>(:[^:]*)*)\Z")
_PLAIN_ACTIONS = frozenset({"kill", "freeze", "raise", "memory", "pass"})
_TIMED_ACTIONS = frozenset({"sleep", "burn"})
_ACTIONS = _PLAIN_ACTIONS | _TIMED_ACTIONS | {"signal"}


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
    found: dict[str, Failpoint] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        try:
            point = _parsed(part)
            if point.name in found:
                raise ValueError(f"{point.name} is armed twice")
        except ValueError as error:
            raise FailpointSyntaxError(f"{VARIABLE}: {part!r}: {error}") from None
        found[point.name] = point
    return found


def _parsed(part: str) -> Failpoint:
    match = _SPEC.match(part)
    if match is None:
        raise ValueError("this is not NAME=ACTION[(ARGUMENT)][:CONDITION...]")
    name, action, argument = match["name"], match["action"], match["argument"] or ""
    if name not in POINTS:
        raise ValueError(f"there is no point {name}, only {', '.join(sorted(POINTS))}")
    if action not in _ACTIONS:
        raise ValueError(f"there is no action {action}, only {', '.join(sorted(_ACTIONS))}")
    _check_argument(action, argument)
    nth, probability, once = 0, 1.0, False
    for condition, equals, value in (item.partition("=") for item in match["conditions"].split(":")[1:]):
        match condition, bool(equals):
            case "nth", True:
                nth = _count(value)
            case "p", True:
                probability = _probability(value)
            case "once", False:
                once = True
            case _:
                raise ValueError(f"there is no condition {condition}{equals}{value}, only nth=N, p=PROBABILITY, once")
    return Failpoint(name, action, argument, nth=nth, probability=probability, once=once)


def _check_argument(action: str, argument: str) -> None:
    if action in _PLAIN_ACTIONS and argument:
        raise ValueError(f"{action} takes no argument")
    if action in _TIMED_ACTIONS and re.fullmatch(r"\d+(\.\d+)?", argument) is None:
        raise ValueError(f"{action} needs seconds, as in {action}(0.5)")
    if action == "signal" and argument not in signal.Signals.__members__:
        raise ValueError("signal needs a name, as in signal(SIGSEGV)")


def _count(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise ValueError(f"nth is a whole number from 1, not {value!r}")
    return int(value)


def _probability(value: str) -> float:
    if re.fullmatch(r"\d*\.?\d+", value) is None or not 0 < float(value) <= 1:
        raise ValueError(f"p is a probability above 0 and up to 1, not {value!r}")
    return float(value)


class Failpoints:
    """The armed points of this process; counts hits per process, also after a fork."""

    def __init__(self, points: Mapping[str, Failpoint], *, directory: Path | None = None) -> None:
        self.arm(points, directory=directory)

    def arm(self, points: Mapping[str, Failpoint], *, directory: Path | None = None) -> None:
        """Replace what is armed, and count from the start: for a process that is forked with its modules imported."""
        if directory is None and (lost := [point.name for point in points.values() if point.once]):
            raise FailpointSyntaxError(f"{VARIABLE}: {', '.join(lost)}: once needs {DIRECTORY_VARIABLE}")
        self._points = dict(points)
        self._directory = directory
        self._hits: Counter[tuple[int, str]] = Counter()

    def __call__(self, name: str) -> None:
        """Act if the point is armed and its conditions hold."""
        if name not in POINTS:
            raise FailpointSyntaxError(f"the code names a point {name!r} that POINTS does not have")
        point = self._points.get(name)
        if point is None:
            return
        self._hits[os.getpid(), name] += 1
        if point.nth and self._hits[os.getpid(), name] != point.nth:
            return
        if point.probability < 1.0 and random.random() >= point.probability:
            return
        if point.once and not self._is_first(point):
            return
        self._trace(point)
        _act(point)

    def _is_first(self, point: Failpoint) -> bool:
        assert self._directory is not None
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
