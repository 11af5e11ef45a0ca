"""New rows of a table as they appear: polling by keyset on the time of their transaction."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from django.db.models import Model, Q, QuerySet
from django.db.models.functions import Now

M = TypeVar("M", bound=Model)

PAGE_ROWS = 1_000
FIRST = uuid.UUID(int=0)


class Feed(Generic[M]):
    """Rows of `rows` whose `field`, the start of the transaction that wrote them, is after `since`; each once.

    Transactions become visible in another order than they began. Two ways round that, for tables of either kind:
    `overlap` reads the last stretch of time again at every poll, complete and at once, fit for few rows; `horizon`
    leaves the last stretch out until it is over, fit for many. A transaction that takes longer than the stretch is
    missed: this is for people who watch, not for programs that count.
    """

    def __init__(
        self,
        rows: QuerySet[M],
        field: str,
        *,
        since: datetime,
        overlap: timedelta = timedelta(0),
        horizon: timedelta = timedelta(0),
    ) -> None:
        self._rows = rows
        self._field = field
        self._since = since
        self._newest = since
        self._overlap = overlap
        self._horizon = horizon
        self._seen: dict[Any, datetime] = {}

    def poll(self, *, max_rows: int = 100_000) -> list[M]:
        """Return what is new, oldest first; what is beyond `max_rows` comes with the next call."""
        found: list[M] = []
        position = (max(self._since, self._newest - self._overlap), FIRST)
        while len(found) < max_rows:
            page = self._page(position)
            found += [row for row in page if row.pk not in self._seen]
            if page:
                position = (getattr(page[-1], self._field), page[-1].pk)
                self._remember(page)
            if len(page) < PAGE_ROWS:
                break
        return found

    def _page(self, position: tuple[datetime, uuid.UUID]) -> list[M]:
        at, key = position
        after = Q(**{f"{self._field}__gt": at}) | Q(**{self._field: at, "pk__gt": key})
        # The first condition is implied by the second; it is the one that an index understands.
        bounds = {f"{self._field}__gte": at, f"{self._field}__lte": Now() - self._horizon}
        return list(self._rows.filter(after, **bounds).order_by(self._field, "pk")[:PAGE_ROWS])

    def _remember(self, page: list[M]) -> None:
        times = {row.pk: getattr(row, self._field) for row in page}
        self._newest = max(self._newest, *times.values())
        floor = self._newest - self._overlap
        self._seen = {key: at for key, at in (self._seen | times).items() if at >= floor}
