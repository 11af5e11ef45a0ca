"""A body over the limit is refused as it arrives, with or without Content-Length."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from sentinel.body_limit import BodyLimit, Message, Receive, Scope, Send


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    size = 0
    while True:
        message = await receive()
        size += len(message["body"])
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


def answer(*chunks: bytes) -> list[Any]:
    sent: list[Message] = []
    left = list(chunks)

    async def receive() -> Message:
        body = left.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(BodyLimit(echo, max_bytes=10)({"type": "http"}, receive, send))
    return sent


def test_a_body_at_the_limit_passes() -> None:
    start, body = answer(b"12345", b"67890")
    assert (start["status"], body["body"]) == (200, b"10")


def test_a_chunked_body_over_the_limit_is_refused_with_the_limit() -> None:
    start, body = answer(b"12345", b"67890", b"1", b"never read")
    assert start["status"] == 413
    error = json.loads(body["body"])["error"]
    assert (error["code"], error["message"]) == ("payload_too_large", "the body has more than 10 bytes")
