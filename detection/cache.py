"""Baselines in Redis: one hash per partition, a field per series, and the stamp of the batch they stand after.

Redis is a cache that may be empty, restarted, hung or gone at any time: nothing here raises because of it.
"""

from __future__ import annotations

import enum
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import redis
import structlog
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from detection.fold import BLOCK_OFFSETS, STATE_VERSION, PartitionState, StateVersionError
from detection.verdict import SeriesKey
from ingestion.batches import BatchStamp

logger = structlog.get_logger(__name__)

# A batch waits no longer for Redis; after an error it is left alone for a while, so that not every batch waits.
TIMEOUT_SECONDS = 1.0
PAUSE_SECONDS = 5.0
EXPIRY_SECONDS = 86_400

# The fields that are no series; those are JSON arrays.
_STAMP, _OFFSET, _CHECKPOINT = "stamp", "next_offset", "checkpoint"

# KEYS[1] the hash; ARGV: the stamp it must have, seconds to expiry, then fields and values.
_UPDATE = """
if redis.call('HGET', KEYS[1], 'stamp') ~= ARGV[1] then return 0 end
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
"""


class Written(enum.StrEnum):
    """What became of a write; a label of `sentinel_baseline_cache_writes_total`."""

    UPDATED = "updated"
    REPLACED = "replaced"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where and when the last checkpoint was written: an offset, seconds since 1970 or None for never."""

    offset: int = 0
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Cached:
    """What Redis held: a state and the checkpoint before it."""

    state: PartitionState
    checkpoint: Checkpoint


def connect(url: str | None = None) -> redis.Redis:
    """Return a client of `url`, by default the configured Redis, that gives up soon. Make it after the fork."""
    return redis.Redis.from_url(
        url or settings.REDIS_URL,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        # The client's own default waits seconds between attempts, with a partition's lock held.
        retry=Retry(NoBackoff(), 0),
    )


class BaselineCache:
    """Reads and writes the hashes. One per worker process; used by one thread."""

    def __init__(self, client: redis.Redis, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._paused_until = float("-inf")
        self._update = client.register_script(_UPDATE)

    def read(self, cursor_id: int, *, stamp: BatchStamp) -> Cached | None:
        """Return the state of the cursor if it is the one after the batch `stamp`."""
        if self._clock() < self._paused_until:
            return None
        try:
            if not self._has_stamp(cursor_id, stamp):
                return None
            return _decoded(cast(dict[bytes, bytes], self._client.hgetall(_key(cursor_id))), stamp)
        except (redis.RedisError, OSError) as error:
            self._pause("read", error)
        except (StateVersionError, KeyError, ValueError) as error:
            logger.warning("baseline_cache.unreadable", cursor=cursor_id, error=type(error).__name__)
        return None

    def write(
        self,
        state: PartitionState,
        *,
        cursor_id: int,
        checkpoint: Checkpoint,
        since_offset: int,
        previous_stamp: BatchStamp | None,
        stamp: BatchStamp,
    ) -> Written:
        """Make Redis hold the state after the batch `stamp`.

        Where it holds the one after `previous_stamp`, the series with rows since `since_offset` are enough.
        """
        if self._clock() < self._paused_until:
            return Written.FAILED
        frame: dict[str, bytes | str | int] = {
            _STAMP: str(stamp),
            _OFFSET: state.next_offset,
            _CHECKPOINT: json.dumps([checkpoint.offset, checkpoint.at]),
        }
        try:
            if previous_stamp is not None:
                touched = {_field(key): state.encode(key) for key in state.touched_since(since_offset)}
                if self._updated(cursor_id, previous_stamp, {**touched, **frame}):
                    return Written.UPDATED
            everything = {_field(key): data for key, data in state.encode_all().items()}
            self._replace(cursor_id, {**everything, **frame})
        except (redis.RedisError, OSError) as error:
            self._pause("write", error)
            return Written.FAILED
        return Written.REPLACED

    def _has_stamp(self, cursor_id: int, stamp: BatchStamp) -> bool:
        return cast(bytes | None, self._client.hget(_key(cursor_id), _STAMP)) == str(stamp).encode()

    def _updated(self, cursor_id: int, previous_stamp: BatchStamp, fields: Mapping[str, bytes | str | int]) -> bool:
        flat = [part for pair in fields.items() for part in pair]
        return bool(self._update(keys=[_key(cursor_id)], args=[str(previous_stamp), EXPIRY_SECONDS, *flat]))

    def _replace(self, cursor_id: int, fields: Mapping[str, bytes | str | int]) -> None:
        key = _key(cursor_id)
        with self._client.pipeline(transaction=True) as pipe:
            pipe.delete(key)
            pipe.hset(key, mapping=dict(fields))
            pipe.expire(key, EXPIRY_SECONDS)
            pipe.execute()

    def _pause(self, action: str, error: Exception) -> None:
        self._paused_until = self._clock() + PAUSE_SECONDS
        logger.warning("baseline_cache.unavailable", action=action, error=type(error).__name__)


def _key(cursor_id: int) -> str:
    """Other code and other installations have other keys."""
    return f"sentinel:{settings.SENTINEL_INSTALLATION}:baselines:v{STATE_VERSION}.{BLOCK_OFFSETS}:{cursor_id}"


def _field(key: SeriesKey) -> str:
    return json.dumps(key)


def _decoded(fields: Mapping[bytes, bytes], stamp: BatchStamp) -> Cached | None:
    """Return what the hash holds; None where it changed between two reads."""
    frame = {name.encode(): fields[name.encode()] for name in (_STAMP, _OFFSET, _CHECKPOINT)}
    if frame[_STAMP.encode()] != str(stamp).encode():
        return None
    encoded: dict[SeriesKey, bytes] = {}
    for name, value in fields.items():
        if name not in frame:
            project_id, service, model = json.loads(name)
            encoded[project_id, service, model] = value
    offset, at = json.loads(frame[_CHECKPOINT.encode()])
    return Cached(PartitionState.decode(encoded, next_offset=int(frame[_OFFSET.encode()])), Checkpoint(offset, at))
