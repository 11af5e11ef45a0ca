"""The page that says what resuming a partition means, and does it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import QuerySet
from django.http import HttpRequest

from ingestion.admin.partition_condition import condition_of_row
from ingestion.condition import Condition
from ingestion.models import PartitionCursor
from ingestion.resume import Choice, ResumeRefused, can_accept_log, can_set_aside, outlook, refusal, resume


@dataclass(frozen=True, slots=True)
class Way:
    """One way to go on that a person may choose."""

    name: str
    label: str
    choice: Choice
    outlook: str
    is_chosen: bool = False
    must_be_ticked: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """A partition on the page; `seen` tells whether it is still the halt that was looked at."""

    pk: int
    cursor: PartitionCursor
    condition: Condition
    refusal: str | None
    seen: str
    ways: Sequence[Way]


def items_of(cursors: QuerySet[PartitionCursor]) -> list[Item]:
    """Return the partitions with the ways in which each may go on."""
    return [
        Item(
            cursor.pk,
            cursor,
            condition_of_row(cursor),
            refusal(cursor, Choice(accept_log=can_accept_log(cursor))),
            f"{cursor.attempt}:{cursor.halted_because}",
            _ways(cursor),
        )
        for cursor in cursors
    ]


def _ways(cursor: PartitionCursor) -> list[Way]:
    if can_accept_log(cursor):
        accept = Choice(accept_log=True)
        return [Way("accept_log", "Accept the log as it is now", accept, outlook(cursor, accept), must_be_ticked=True)]
    plain = Way("plain", "Try again", Choice(), outlook(cursor, Choice()), is_chosen=True)
    if not can_set_aside(cursor):
        return [plain]
    set_aside = Choice(set_aside=True)
    return [plain, Way("set_aside", "Set the record aside", set_aside, outlook(cursor, set_aside))]


def resume_chosen(request: HttpRequest, items: Iterable[Item]) -> tuple[list[tuple[Item, Way]], list[str]]:
    """Resume each partition in the way that the form names; return what goes on, and why others do not."""
    done, refused = [], []
    for item in items:
        way = next((way for way in item.ways if way.name == request.POST.get(f"way_{item.pk}")), None)
        if way is None or item.refusal:
            continue
        if request.POST.get(f"seen_{item.pk}") != item.seen:
            refused.append(f"{item.cursor} has changed meanwhile; look again")
            continue
        try:
            resume(item.cursor, way.choice, by=f"{request.user.get_username()} (admin)")
            done.append((item, way))
        except ResumeRefused as error:
            refused.append(str(error))
    return done, refused
