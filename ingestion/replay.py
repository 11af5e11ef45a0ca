"""Append dead letters to their topic again, once what was wrong is gone.

1. The letters are taken in batches, each of one topic.
2. A batch is claimed: a letter that somebody else is replaying is skipped. Its state is read only then.
3. What can be replayed is appended. No transaction is open meanwhile: the log may take its time.
4. What the log has confirmed is marked, and the claims are let go.

Between 3 and 4 lies the one gap: letters that are in the log and still open, where the process died or the log's answer
was lost. Replayed again, an event is a duplicate of itself; what is still no event gets one more dead letter.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.db.models.functions import Now

from ingestion.event import encode_event
from ingestion.letter_claims import claimed
from ingestion.limits import Limits
from ingestion.log.base import LogUnavailable, NewRecord
from ingestion.log.producer import append
from ingestion.models import DeadLetter
from ingestion.models.dead_letter import DeadLetterStatus
from ingestion.replay_outcome import Fate, Outcome, Replay
from ingestion.series_key import series_key
from ingestion.validate import Rejected, decode_event
from ingestion.withheld import SkipReason, skip_reason, why_not_replayed

logger = structlog.get_logger(__name__)

APPEND_TIMEOUT_SECONDS = 10.0
# So many letters of a topic at most are in doubt where the log does not answer.
BATCH_LETTERS = 200
REPLAY_HEADER = "sentinel-replay-of"

_NAMESPACE = uuid.UUID("5ec1a3d0-52b7-5f0e-9c39-53454e540003")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_AWAY = (OperationalError, InterfaceError)
_REPLAYED = Outcome(fate=Fate.REPLAYED)
_UNMARKED = Outcome(fate=Fate.UNMARKED, why="it is in the log, but PostgreSQL did not take the mark; it stays open")
_UNCONFIRMED = "the log did not confirm it; it stays open, and may be in the log nevertheless"


def replay(letter_ids: Iterable[int]) -> Replay:
    """Append open dead letters to their topic again and mark them; what is sent is the scrubbed payload.

    Must not be called in a transaction, which would hide the marks. A topic whose log does not confirm a batch is left
    alone from then on; the others are tried. Raises `OperationalError` where PostgreSQL is away before anything is sent.
    """
    outcomes = dict.fromkeys(letter_ids, Outcome.skipped(SkipReason.UNKNOWN))
    silent: set[str] = set()
    is_away = False
    for topic, batch in _batches(outcomes):
        if is_away or topic in silent:
            reason = SkipReason.DATABASE_UNAVAILABLE if is_away else SkipReason.LOG_UNAVAILABLE
            outcomes |= dict.fromkeys(batch, Outcome.skipped(reason))
            continue
        found = _replay_batch(topic, batch)
        outcomes |= found
        if any(item.fate is Fate.UNCONFIRMED for item in found.values()):
            silent.add(topic)
        is_away = any(
            item.fate is Fate.UNMARKED or item.reason is SkipReason.DATABASE_UNAVAILABLE for item in found.values()
        )
    return Replay(outcomes)


def _batches(letter_ids: Collection[int]) -> list[tuple[str, Sequence[int]]]:
    rows = DeadLetter.objects.filter(pk__in=list(letter_ids)).order_by("pk").values_list("pk", "cursor__topic")
    by_topic: dict[str, list[int]] = defaultdict(list)
    for pk, topic in rows:
        by_topic[topic].append(pk)
    return [
        (topic, found[start : start + BATCH_LETTERS])
        for topic, found in by_topic.items()
        for start in range(0, len(found), BATCH_LETTERS)
    ]


def _replay_batch(topic: str, letter_ids: Sequence[int]) -> dict[int, Outcome]:
    try:
        with claimed(letter_ids) as held:
            letters = list(DeadLetter.objects.filter(pk__in=held).select_related("cursor__project").order_by("pk"))
            others = {pk: Outcome.skipped(SkipReason.BEING_REPLAYED) for pk in letter_ids if pk not in held}
            skipped = {
                letter.pk: Outcome.skipped(reason, why_not_replayed(letter))
                for letter in letters
                if (reason := skip_reason(letter)) is not None
            }
            return {**others, **skipped, **_send(topic, [letter for letter in letters if letter.pk not in skipped])}
    except _AWAY as error:
        # Only claiming and reading raise these: nothing of the batch was sent.
        logger.warning("replay.database_unavailable", topic=topic, letters=len(letter_ids), error=type(error).__name__)
        return dict.fromkeys(letter_ids, Outcome.skipped(SkipReason.DATABASE_UNAVAILABLE))


def _send(topic: str, letters: Sequence[DeadLetter]) -> dict[int, Outcome]:
    letter_ids = [letter.pk for letter in letters]
    if not letter_ids:
        return {}
    try:
        append(topic, [_record(letter) for letter in letters], timeout_seconds=APPEND_TIMEOUT_SECONDS)
    except LogUnavailable as error:
        logger.warning("replay.unconfirmed", topic=topic, letters=len(letter_ids), error=str(error))
        return dict.fromkeys(letter_ids, Outcome(fate=Fate.UNCONFIRMED, why=_UNCONFIRMED, error=str(error)))
    return dict.fromkeys(letter_ids, _REPLAYED if _is_marked(topic, letter_ids) else _UNMARKED)


def _is_marked(topic: str, letter_ids: Sequence[int]) -> bool:
    """Mark what is in the log; once more with a new session where the old one was lost meanwhile."""
    for is_last in (False, True):
        try:
            DeadLetter.objects.filter(pk__in=letter_ids).update(status=DeadLetterStatus.REPLAYED, replayed_at=Now())
        except _AWAY as error:
            if not connection.is_usable():
                connection.close()
            if is_last:
                logger.warning("replay.unmarked", topic=topic, letters=len(letter_ids), error=type(error).__name__)
        else:
            return True
    return False


def _record(letter: DeadLetter) -> NewRecord:
    """Return what to append: an event in the partition of its series, anything else as it was kept.

    An event without an id or a time gets those of its first place in the log, so that it is stored once however often
    it is replayed: the log may have taken it although the answer, and with it the mark on the letter, was lost.
    """
    origin = f"{letter.cursor_id}:{letter.log_offset}"
    headers = [(REPLAY_HEADER, origin.encode())]
    verdict = decode_event(
        letter.payload.encode(),
        log_time_us=(letter.log_time - _EPOCH) // timedelta(microseconds=1),
        default_event_id=uuid.uuid5(_NAMESPACE, origin),
        limits=Limits(
            max_event_bytes=settings.SENTINEL_MAX_EVENT_BYTES, keep_embeddings=letter.cursor.project.keep_embeddings
        ),
    )
    if isinstance(verdict, Rejected):
        return NewRecord(origin.encode(), letter.payload.encode(), headers)
    return NewRecord(series_key(verdict.event), encode_event(verdict.event), headers)
