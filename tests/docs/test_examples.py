"""Code in the documentation does what its page says."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from alerting import signature
from detection.profile import Profile

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return [match["code"] for match in BLOCK.finditer(text) if match["language"] == language]


@pytest.fixture(scope="module")
def receiver() -> dict[str, Any]:
    namespace: dict[str, Any] = {}
    (code,) = blocks("alerting.md", "python")
    exec(code, namespace)  # the page's own text
    return namespace


@pytest.mark.parametrize("secret", [signature.new_secret(), "a secret of one's own"])
def test_the_receiver_accepts_what_sentinel_signs_and_nothing_else(receiver: dict[str, Any], secret: str) -> None:
    body = b'{"id": "1"}'
    signed = signature.sign(
        webhook_id="1", timestamp_seconds=int(time.time()), body=body, secrets=[secret, "an older one"]
    )
    headers = {name.lower(): value for name, value in signed.items()}
    assert receiver["is_genuine"](headers, body, secret)
    assert not receiver["is_genuine"](headers, body + b" ", secret)
    assert not receiver["is_genuine"](headers, body, "another secret")
    assert not receiver["is_genuine"](headers | {"webhook-timestamp": "1700000000"}, body, secret)


def test_the_detection_settings_shown_are_the_defaults() -> None:
    (code,) = blocks("detection.md", "json")
    assert Profile.from_dict(json.loads(code)) == Profile()


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_json_is_json(page: str) -> None:
    for code in blocks(page, "json"):
        json.loads(code)
