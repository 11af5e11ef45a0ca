"""A load over HTTP: many requests at once, and an account of which events were acknowledged."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from http.client import HTTPException
from itertools import cycle, islice
from queue import Empty, Queue
from threading import Thread
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from ingestion.log.base import Log
from tests.faults.load import PATIENCE_SECONDS, Load, Sending, Shares
from tests.faults.reference import Reference

WRITERS = 6
BODY_EVENTS = 20
# Longer than the server may take to append.
ANSWER_SECONDS = 20.0
# An outage holds the load up instead of using its events up.
WAITING_EVENTS = 200
PAUSE_SECONDS = 0.2


class HttpLoad(Load):
    """Sends every event once, to web processes at `urls`; what was not acknowledged may be in the log or not.

    An invalid event would be refused before it gets into the log: the shares have none.
    """

    def __init__(self, *, urls: Sequence[str], token: str, log: Log, shares: Shares | None = None, **options: Any):
        super().__init__(brokers="", shares=shares or Shares(invalid=0.0), **options)
        self.answered: Counter[str] = Counter()  # by event id
        self.unanswered: Counter[str] = Counter()
        self.unanswered_in_log = 0  # once `disagreements` has looked
        self._log, self._token = log, token
        self._waiting: Queue[Sending | None] = Queue(WAITING_EVENTS)
        self._writers = [
            Thread(target=self._write, args=[url], name=f"load-{number}", daemon=True)
            for number, url in enumerate(islice(cycle(urls), WRITERS))
        ]

    def start(self) -> None:
        self._thread.start()
        for writer in self._writers:
            writer.start()

    def stop(self) -> None:
        """Stop sending and wait until every request is answered, or is known to stay unanswered."""
        self.abandon()
        if not self._thread.ident:
            return
        for thread in (self._thread, *self._writers):
            thread.join(timeout=PATIENCE_SECONDS)
            assert not thread.is_alive(), thread.name
        assert not self._failures, self._failures[:3]
        self.acknowledged = self.answered.total()

    def abandon(self) -> None:
        self._stop.set()

    def _send(self, item: Sending, partition: int) -> None:
        """Hand it to whichever writer is free; its key, and no test, says which partition it goes to."""
        with self._lock:
            self.sent[item.kind] += 1
        self._waiting.put(item)

    def _write(self, url: str) -> None:
        while not self._stop.is_set() or self._thread.is_alive() or not self._waiting.empty():
            if body := list(self._next_body()):
                self._post(url, body)

    def _next_body(self) -> Iterator[bytes]:
        try:
            for number in range(BODY_EVENTS):
                item = self._waiting.get(timeout=0.0 if number else 0.1)
                assert item is not None
                yield item.value or b""
        except Empty:
            return

    def _post(self, url: str, events: Sequence[bytes]) -> None:
        ids = [str(json.loads(event)["event_id"]) for event in events]
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/x-ndjson"}
        try:
            with urlopen(Request(f"{url}/api/v1/events", b"\n".join(events), headers), timeout=ANSWER_SECONDS) as found:
                accepted = json.load(found)["accepted"]
        except (OSError, HTTPException) as error:
            self._tally(self.unanswered, ids)
            if isinstance(error, HTTPError):
                error.close()
                if error.code < 500:
                    self._failures.append(f"status {error.code}")
            time.sleep(PAUSE_SECONDS)
        else:
            self._tally(self.answered, ids)
            if accepted != len(ids):
                self._failures.append(f"{accepted} of {len(ids)} events were accepted")

    def _tally(self, counter: Counter[str], ids: Sequence[str]) -> None:
        with self._lock:
            counter.update(ids)

    def disagreements(self, reference: Reference) -> list[str]:
        """Return where the log does not have what was acknowledged, exactly so often, or has something else."""
        held = Counter(self._held(reference.topic))
        self.unanswered_in_log = (held - self.answered).total()
        return [
            f"{event_id} is {held[event_id]} times in the log, acknowledged {self.answered[event_id]} times, "
            f"unanswered {self.unanswered[event_id]} times"
            for event_id in held | self.answered
            if not 0 <= held[event_id] - self.answered[event_id] <= self.unanswered[event_id]
        ]

    def _held(self, topic: str) -> Iterator[str]:
        """Yield the ids of all records of the topic."""
        keys = [(topic, item.partition) for item in self._log.partitions([topic])]
        for key, end in self._log.end_offsets(keys).items():
            for record in self._log.read(*key, 0, end, max_bytes=2**31).records:
                yield str(json.loads(record.value or b"")["event_id"])
