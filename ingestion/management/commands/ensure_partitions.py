"""`manage.py ensure_partitions`: make the daily partitions that are missing."""

from typing import Any

from django.core.management.base import BaseCommand

from ingestion.partitions import ensure_partitions


class Command(BaseCommand):
    help = "Create missing daily partitions, from the oldest retained day to three days ahead."

    def handle(self, *args: Any, **options: Any) -> None:
        created = ensure_partitions()
        self.stdout.write(f"{len(created)} partitions created")
