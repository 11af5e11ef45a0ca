"""What a channel is: the interface, what it is given, and its one error."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from alerting.reasons import FailureReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A rendered alert. `body` is the exact JSON to hand over, scrubbed; the other fields repeat parts of it."""

    id: uuid.UUID
    rule_name: str
    project: str
    service: str
    model: str
    anomaly_type: str
    severity: str
    explanation: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a rule's alerts go. `secrets` are newest first; they and the URL, which may hold a token, stay out of `repr`."""

    url: str = field(default="", repr=False)
    secrets: Sequence[str] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The channel's acknowledgement."""

    status_code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong with a rule's target: the form field and a sentence."""

    field: str
    message: str


class ChannelError(Exception):
    """An attempt failed. `permanent`: give up; otherwise try again, not before `retry_after_seconds` if given.

    `disables_rule`: the receiver said that it wants no more. The message is the reason alone: neither URL nor secret.
    """

    def __init__(
        self,
        reason: FailureReason,
        *,
        permanent: bool,
        status_code: int | None = None,
        retry_after_seconds: float | None = None,
        disables_rule: bool = False,
    ) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.permanent = permanent
        self.status_code = status_code
        self.retry_after_seconds = retry_after_seconds
        self.disables_rule = disables_rule


class Channel(ABC):
    """One way to tell people. Instances are shared by threads and hold no state of a delivery."""

    name: str

    @abstractmethod
    def send(self, alert: Alert, target: Target, *, now: datetime) -> Receipt:
        """Hand `alert` over; called by the alert worker outside any transaction, in one of several threads.

        May block for as long as the channel's own time limit, which must stay well below the lease
        (`alerting.claim.LEASE_SECONDS`). Raises `ChannelError`, never anything else by intention. A return means that
        the receiver acknowledged the alert, not that anybody read it; it may be called again for the same alert.
        """

    def problems(self, target: Target) -> Sequence[Problem]:
        """Return what makes `target` unusable; called when a rule is saved, may block for a name look-up."""
        return ()
