"""How far a replay came, so that an interrupted one can go on with the same times."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ReplayState:
    """`shift_us` must stay the same: the time is part of an event's identity."""

    shift_us: int
    durable_rows: int


def state_path(digest: str, *options: object) -> Path:
    """Return where the state of replaying this file with these options is kept."""
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    name = hashlib.sha256(json.dumps([digest, *map(str, options)]).encode()).hexdigest()
    return base / "sentinel" / "replays" / f"{name[:32]}.json"


def load(path: Path) -> ReplayState | None:
    """Return the state of an interrupted replay, None where there is none."""
    try:
        return ReplayState(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None


def save(path: Path, state: ReplayState) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(state)))
    fresh.replace(path)


def forget(path: Path) -> None:
    path.unlink(missing_ok=True)
