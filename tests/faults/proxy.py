"""A TCP proxy that spoils connections on purpose; it runs in a thread of its own and is switched by the test.

    with Proxy() as proxy:
        link = proxy.link(("127.0.0.1", 6379))
        client = redis.Redis(port=link.port)
        link.spoil(Fault(latency_seconds=0.2))
        link.reset()

What a fault has swallowed stays lost: a connection that met a blackhole or was frozen never comes back to life.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import random
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")
# Host and port, or the path of a Unix socket.
Target = tuple[str, int] | Path

LOOPBACK = "127.0.0.1"
CHUNK_BYTES = 64 * 1024
CALL_SECONDS = 10.0
# Closing a socket with this option sends a reset instead of a FIN.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Side(enum.Enum):
    """Where bytes come from."""

    CLIENT = "client"
    TARGET = "target"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to every byte from now on; the default is nothing.

    `cut_after_bytes` forwards so many more bytes of a client, in each connection, and resets it before any answer to
    them: the request has arrived, and nobody hears of it.
    """

    latency_seconds: float = 0.0
    jitter_seconds: float = 0.0
    bytes_per_second: int | None = None
    cut_after_bytes: int | None = None
    blackhole: bool = False


class Proxy:
    """Give each target a `link`; leaving the context closes everything."""

    def __init__(self, *, seed: int = 0) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._links: list[Link] = []
        self._random = random.Random(seed)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for link in self._links:
            link.close()
        asyncio.run_coroutine_threadsafe(_finish_others(), self._loop).result(CALL_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_SECONDS)
        self._loop.close()

    def link(self, target: Target | None = None) -> Link:
        """Return a new way to `target`; without one it is named later, when the server knows the link's port."""
        link = Link(self._loop, target, self._random)
        self._links.append(link)
        return link


async def _finish_others() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class Link:
    """One listening port that leads to one target. Methods may be called from any thread and return when done."""

    def __init__(self, loop: asyncio.AbstractEventLoop, target: Target | None, randomness: random.Random) -> None:
        self.target = target
        self.accepted = 0
        self._loop = loop
        self._random = randomness
        self._fault = Fault()
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self.port = 0
        self._run(self._listen)

    def spoil(self, fault: Fault) -> None:
        """Put a fault on every connection, present and future, in place of the one before."""

        async def put() -> None:
            self._fault = fault
            for connection in self._connections:
                connection.sent_bytes = 0

        self._run(put)

    def heal(self) -> None:
        """Forward again, and accept connections again."""
        self.spoil(Fault())
        self._run(self._listen)

    def refuse(self) -> None:
        """Refuse new connections; present ones stay."""
        self._run(self._stop_listening)

    def reset(self) -> None:
        """Reset the present connections."""
        self._on_each(_Connection.reset)

    def half_close(self) -> None:
        """End the target's side of the present connections; what the client sends is still forwarded."""
        self._on_each(_Connection.half_close)

    def freeze(self) -> None:
        """Stop forwarding both ways in the present connections, for good: half-open TCP. New ones are not touched."""
        self._on_each(_Connection.freeze)

    def lose_answers(self) -> None:
        """Reset the present connections once their target answers: the request was carried out, nobody hears of it."""
        self._on_each(_Connection.lose_answer)

    @property
    def connections(self) -> int:
        """Return how many connections are open."""
        return len(self._connections)

    def close(self) -> None:
        """Stop listening and reset everything."""
        self._run(self._stop_listening)
        self.reset()

    def _on_each(self, act: Callable[[_Connection], None]) -> None:
        async def each() -> None:
            for connection in list(self._connections):
                act(connection)

        self._run(each)

    def _run(self, coroutine: Callable[[], Awaitable[T]]) -> T:
        async def awaited() -> T:
            return await coroutine()

        return asyncio.run_coroutine_threadsafe(awaited(), self._loop).result(CALL_SECONDS)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port, limit=CHUNK_BYTES)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        connection = _Connection(reader, writer)
        self._connections.add(connection)
        try:
            if self.target is not None:
                await connection.open(self.target)
                await asyncio.gather(self._pump(connection, Side.CLIENT), self._pump(connection, Side.TARGET))
        except OSError:
            pass  # One of both ends is gone, which is what this proxy is for.
        finally:
            self._connections.discard(connection)
            connection.reset()

    async def _pump(self, connection: _Connection, side: Side) -> None:
        reader, writer = connection.ways[side]
        while data := await reader.read(self._chunk_bytes()):
            await self._delay(len(data))
            fault = self._fault
            if connection.loses_answer and side is Side.TARGET:
                connection.reset()
                return
            connection.is_dead |= fault.blackhole
            if connection.is_dead:
                continue
            limit = fault.cut_after_bytes
            if limit is not None and side is Side.CLIENT:
                data = data[: max(0, limit - connection.sent_bytes)]
                connection.sent_bytes += len(data)
                if connection.sent_bytes >= limit:
                    await connection.cut(writer, data)
                    return
            writer.write(data)
            await writer.drain()
        with contextlib.suppress(OSError):
            if not connection.is_dead and writer.can_write_eof():
                writer.write_eof()

    def _chunk_bytes(self) -> int:
        rate = self._fault.bytes_per_second
        return CHUNK_BYTES if rate is None else max(1, min(CHUNK_BYTES, rate // 20))

    async def _delay(self, size: int) -> None:
        fault = self._fault
        seconds = fault.latency_seconds + self._random.uniform(0, fault.jitter_seconds)
        if fault.bytes_per_second is not None:
            seconds += size / fault.bytes_per_second
        if seconds:
            await asyncio.sleep(seconds)


class _Connection:
    """A client's connection and the one to its target."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._client = (reader, writer)
        self._target: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.sent_bytes = 0
        self.is_dead = False
        self.loses_answer = False

    async def open(self, target: Target) -> None:
        if isinstance(target, Path):
            self._target = await asyncio.open_unix_connection(target, limit=CHUNK_BYTES)
        else:
            self._target = await asyncio.open_connection(*target, limit=CHUNK_BYTES)

    @property
    def ways(self) -> dict[Side, tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Return for the origin of bytes what to read from and where to write."""
        assert self._target is not None
        return {
            Side.CLIENT: (self._client[0], self._target[1]),
            Side.TARGET: (self._target[0], self._client[1]),
        }

    def reset(self) -> None:
        _reset(self._client[1])
        if self._target is not None:
            _reset(self._target[1])

    def half_close(self) -> None:
        writer = self._client[1]
        if writer.can_write_eof():
            writer.write_eof()

    def freeze(self) -> None:
        self.is_dead = True

    def lose_answer(self) -> None:
        self.loses_answer = True

    async def cut(self, writer: asyncio.StreamWriter, last: bytes) -> None:
        """Deliver the last bytes to the target, then reset the client."""
        writer.write(last)
        await writer.drain()
        writer.write_eof()
        _reset(self._client[1])


def _reset(writer: asyncio.StreamWriter) -> None:
    raw: socket.socket | None = writer.get_extra_info("socket")
    if raw is not None and raw.fileno() >= 0:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    writer.transport.abort()
