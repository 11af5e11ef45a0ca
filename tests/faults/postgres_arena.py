"""A row of the matrix without Kafka: the log is a table of the row's database, and web processes append to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ingestion.log.base import Log
from tests.faults.arena import DRAIN_SECONDS, Arena
from tests.faults.differences import Differences
from tests.faults.http_load import HttpLoad
from tests.faults.inbox import Inbox
from tests.faults.load import Load

WEB_PROCESSES = ("web", "web-2")


class PostgresArena(Arena):
    """Opened with `arenas.open(kind=PostgresArena, partitions=ingestion.log.postgres.PARTITIONS)`."""

    log_environment: ClassVar[Mapping[str, str]] = {"SENTINEL_BROKERS": ""}
    urls: Sequence[str] = ()
    token: str = ""

    def make_log(self) -> Log:
        log = Inbox(self.witness)
        log.create_topic(self.topic)
        return log

    def remove_log(self) -> None:
        """Nothing to remove: the log goes with the database."""

    def new_load(self, **options: Any) -> Load:
        return HttpLoad(urls=self.urls, token=self.token, log=self.log, **{**self.load_defaults, **options})

    def start_load(self, *, settled: bool = True, **options: Any) -> Load:
        """Start the web processes, then the load."""
        self.token = self.json("keys", "create", "load", "--scope", "ingest")["key"]
        self.urls = [self.start_web(name) for name in WEB_PROCESSES]
        return super().start_load(settled=settled, **options)

    def examine(self, *, drain_seconds: float = DRAIN_SECONDS) -> Differences:
        found = super().examine(drain_seconds=drain_seconds)
        assert isinstance(self.load, HttpLoad)
        self.remarks.append(
            f"{self.load.unanswered.total()} events unanswered, {self.load.unanswered_in_log} of them in the log"
        )
        return found
