"""Admin lists of what the pipeline writes: to look at, bounded in time, never counted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.paginator import InfinitePaginator

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
    from django.contrib.admin.views.main import ChangeList
else:
    from unfold.admin import ModelAdmin


class RecordAdmin(ModelAdmin):  # type: ignore[type-arg]  # unfold's class takes no parameter at run time
    """A read-only list without a count: on a table of millions a count takes longer than everything else."""

    list_per_page = 50
    show_full_result_count = False
    paginator = InfinitePaginator
    empty_hint: ClassVar[str] = ""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: the pipeline writes these rows."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Refuse, for the same reason."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Refuse: retention deletes."""
        return False


class TimeRangeFilter(admin.SimpleListFilter):
    """Bounds a list in time, by default to the last day: every list has a bound."""

    parameter_name = "range"
    title = "time"
    column: ClassVar[str] = "created_at"
    RANGES: ClassVar[dict[str, tuple[str, timedelta]]] = {
        "15m": ("Last 15 minutes", timedelta(minutes=15)),
        "1h": ("Last hour", timedelta(hours=1)),
        "24h": ("Last 24 hours", timedelta(days=1)),
        "7d": ("Last 7 days", timedelta(days=7)),
        "30d": ("Last 30 days", timedelta(days=30)),
    }
    default = "24h"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the choices."""
        return [(key, label) for key, (label, _) in self.RANGES.items()]

    def value(self) -> str:
        """Return the chosen range; an unknown one counts as the default."""
        chosen = super().value()
        return chosen if chosen in self.RANGES else self.default

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Yield the ranges without "All"."""
        for key, label in self.lookup_choices:
            query = changelist.get_query_string({self.parameter_name: key})
            yield {"selected": self.value() == key, "query_string": query, "display": label}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep what is younger than the range."""
        _, span = self.RANGES[self.value()]
        return queryset.filter(**{f"{self.column}__gt": timezone.now() - span})


def time_range_of(field: str) -> type[TimeRangeFilter]:
    """Return the filter over another column than `created_at`."""
    return type(f"{field.title()}RangeFilter", (TimeRangeFilter,), {"column": field})
