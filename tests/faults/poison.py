"""A worker that some records break: those that hold `POISON_MARK`, in the way that they or the command line say.

`python -m tests.faults.poison ACTION python -m sentinel.cli.main worker …` runs the command so; `under` gives the
prefix. No known event breaks a worker of ours, and a failpoint sees no records.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import django

WASTED_CPU_SECONDS = 60.0


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _burn() -> None:
    re.match(r"(a|aa)+$", "a" * 200 + "b")


def _waste() -> None:
    """Use a minute of CPU and let the record through."""
    until = time.process_time() + WASTED_CPU_SECONDS
    while time.process_time() < until:
        re.match(r"(a|aa)+$", "a" * 24 + "b")


def _memory() -> None:
    raise MemoryError


def _raise() -> None:
    raise RuntimeError("poison")


ACTIONS: Mapping[str, Callable[[], None]] = {
    "kill": _kill,
    "crash": _crash,
    "burn": _burn,
    "waste": _waste,
    "memory": _memory,
    "raise": _raise,
}


def under(action: str) -> list[str]:
    """Return the prefix of a worker's command that lets poison do so."""
    return [sys.executable, "-m", "tests.faults.poison", action]


def arm(act: Callable[[], None]) -> None:
    """Let whoever takes a marked record apart suffer."""
    from tests.faults.setting import POISON_MARK  # knows models: Django must be set up

    mark = re.compile(re.escape(POISON_MARK) + rb"(?:=(\w+))?")
    prepare: Any = import_module("sentinel.prepare")
    decode_records = prepare.decode_records

    def decode_or_suffer(records: Sequence[Any], **options: Any) -> Any:
        for record in records:
            if found := mark.search(record.value or b""):
                (ACTIONS[found[1].decode()] if found[1] else act)()
        return decode_records(records, **options)

    prepare.decode_records = decode_or_suffer


def main(argv: Sequence[str]) -> int:
    """Run the command of `sentinel` that stands behind the action."""
    action, *command = argv
    setup = django.setup

    def setup_and_arm(*arguments: Any, **options: Any) -> None:
        setup(*arguments, **options)
        arm(ACTIONS[action])

    django.setup = setup_and_arm

    from sentinel.cli.main import main as run

    return run(command[command.index("sentinel.cli.main") + 1 :])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
