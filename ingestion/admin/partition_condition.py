"""The condition of a cursor as the admin reads it: by the database's clock, in the query of the list."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import BooleanField, QuerySet
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now
from django.utils import timezone

from ingestion.condition import Condition, CursorRow, condition_of
from ingestion.models import PartitionCursor
from ingestion.survey import IN_USE


def with_condition(cursors: QuerySet[PartitionCursor]) -> QuerySet[Any]:
    """Add what `condition_of_row` needs besides the columns."""
    return cursors.annotate(db_now=Now(), in_use=RawSQL(IN_USE, (), output_field=BooleanField()))  # noqa: S611  # no parameter


def condition_of_row(cursor: PartitionCursor) -> Condition:
    """Return the condition of a cursor read through `with_condition`."""
    now: datetime = getattr(cursor, "db_now", None) or timezone.now()
    return condition_of(CursorRow.of(cursor), now=now, in_use=getattr(cursor, "in_use", True))
