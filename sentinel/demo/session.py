"""One run of the demo inside a running installation: rule, load, anomalies as they are found, alerts as they arrive."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Sum
from django.utils import timezone

from alerting.models import AlertRule, OutboxEntry
from alerting.reasons import EntryStatus
from detection.models import Anomaly
from detection.severity import Severity
from ingestion.models import Batch, Event, Topic
from sentinel.demo.feed import Feed
from sentinel.demo.generator import InjectedFault
from sentinel.demo.load import Load
from sentinel.demo.match import Matcher, Sighting
from sentinel.demo.receiver import Delivery, Receiver

RULE_NAME = "demo"
ALERT_SEVERITY = Severity.HIGH
POLL_SECONDS = 0.1
QUIET_SECONDS = 1.5
ALERTS_SECONDS = 20.0
ANOMALY_OVERLAP = timedelta(seconds=30)


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


@dataclass(frozen=True, slots=True)
class Found:
    """An anomaly, the fault that it shows (None: it shows none), and when it was seen (monotonic seconds)."""

    anomaly: Anomaly
    fault: InjectedFault | None
    seen_at: float


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of the records, summed over the batches of this run."""

    stored: int = 0
    duplicates: int = 0
    rejected: int = 0
    late: int = 0

    @property
    def total(self) -> int:
        return self.stored + self.duplicates + self.rejected + self.late


@dataclass(slots=True)
class Session:
    """Call `start`, then `news` until `is_settled`, then read what was found."""

    load: Load
    matcher: Matcher
    receiver: Receiver
    topic: str
    found: list[Found] = field(default_factory=list)
    started: datetime = field(default_factory=timezone.now)
    _feed: Feed[Anomaly] | None = None
    _quiet_since: float = 0.0

    def start(self, *, secret: str) -> None:
        """Point the project's demo rule at the receiver and begin to send; raise `DemoError` for an unread topic."""
        topic = Topic.objects.filter(name=self.topic).first()
        if topic is None:
            raise DemoError(f"topic {self.topic} belongs to no project, so nobody reads it")
        AlertRule.objects.update_or_create(
            project_id=topic.project_id,
            name=RULE_NAME,
            defaults={
                "enabled": True,
                "min_severity": ALERT_SEVERITY.value,
                "channel": "webhook",
                "webhook_url": self.receiver.url,
                "webhook_secret": secret,
                "disabled_reason": "",
            },
        )
        rows = Anomaly.objects.filter(project_id=topic.project_id, timestamp__gte=self.started - timedelta(hours=2))
        self._feed = Feed(rows, "detected_at", since=self.started, overlap=ANOMALY_OVERLAP)
        self._quiet_since = time.monotonic()
        self.load.start()

    def news(self) -> Iterator[Found | Delivery]:
        """Yield the anomalies and alerts since the last call; raise `DemoError` where the load failed."""
        if self.load.failure is not None:
            raise DemoError(str(self.load.failure))
        assert self._feed is not None
        for anomaly in sorted(self._feed.poll(), key=lambda row: row.timestamp):
            item = Found(anomaly, self.matcher.fault_of(_sighting(anomaly)), time.monotonic())
            self.found.append(item)
            self._quiet_since = time.monotonic()
            yield item
        yield from self.receiver.new_alerts()

    def ingested(self) -> Ingested:
        names = ("stored", "duplicates", "rejected", "late")
        sums = Batch.objects.filter(created_at__gte=self.started).aggregate(**{name: Sum(name) for name in names})
        return Ingested(**{name: sums[name] or 0 for name in names})

    def is_settled(self) -> bool:
        """Whether everything was sent and ingested, and nothing new was found for a moment."""
        if not self.load.is_finished or time.monotonic() - self._quiet_since < QUIET_SECONDS:
            return False
        return self.ingested().total >= self.load.sent

    def wait_for_alerts(self, sleep: Callable[[float], None] = time.sleep) -> Iterator[Found | Delivery]:
        """Yield what still arrives until no alert is waiting to be sent, or for 20 s."""
        deadline = time.monotonic() + ALERTS_SECONDS
        waiting = OutboxEntry.objects.filter(
            created_at__gte=self.started, status__in=[EntryStatus.PENDING, EntryStatus.CLAIMED]
        )
        while time.monotonic() < deadline:
            is_done = not waiting.exists()
            yield from self.news()
            if is_done:
                return
            sleep(POLL_SECONDS)

    @property
    def faults(self) -> Sequence[InjectedFault]:
        """The faults that have begun."""
        begun = [fault for stream in self.load.streams for fault in stream.faults()]
        return [fault for fault in begun if fault.start_us <= self.load.sent_until_us]

    @property
    def first_match(self) -> Found | None:
        return next((item for item in self.found if item.fault is not None), None)

    def scrubbed(self) -> Counter[str]:
        """Return how many values of each type were removed from the events of this run."""
        counts: Counter[str] = Counter()
        rows = Event.objects.filter(
            timestamp__gte=self.started - timedelta(hours=2), ingested_at__gte=self.started, pii__isnull=False
        )
        for pii in rows.values_list("pii", flat=True):
            counts.update(pii)
        return counts


def _sighting(anomaly: Anomaly) -> Sighting:
    return Sighting(
        service=anomaly.service,
        model=anomaly.model,
        metric=anomaly.metric,
        timestamp_us=int(anomaly.timestamp.timestamp() * 1e6),
        event_id=anomaly.event_id,
    )
