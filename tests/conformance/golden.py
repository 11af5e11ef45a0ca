"""Reads the golden events the way any SDK's tests do; the format is described in sdk/conformance/README.md."""

from __future__ import annotations

import base64
import json
from functools import reduce
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).parents[2] / "sdk" / "conformance"


def read_golden(name: str) -> list[dict[str, Any]]:
    """Return the lines of one golden file."""
    return [json.loads(line) for line in (DIRECTORY / name).read_text(encoding="utf-8").split("\n") if line]


def golden_payload(golden: dict[str, Any]) -> bytes:
    """Return the bytes on the wire that a line stands for."""
    if "payload_base64" in golden:
        return base64.b64decode(golden["payload_base64"])
    if "payload" in golden:
        return str(golden["payload"]).encode()
    for path, (text, times) in golden.get("repeat", {}).items():
        *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        reduce(lambda value, part: value[part], parents, golden["event"])[last] = text * times
    return json.dumps(golden["event"]).encode()
