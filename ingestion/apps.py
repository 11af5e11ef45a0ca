from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.db.models.signals import post_migrate


def create_default_project(using: str, **_: Any) -> None:
    """Make the default project and its topics: what a new installation receives needs no set-up."""
    from ingestion.models.project import DEFAULT_PROJECT_SLUG, Project, Topic

    project, _created = Project.objects.using(using).get_or_create(
        slug=DEFAULT_PROJECT_SLUG, defaults={"name": "Default"}
    )
    for name in settings.SENTINEL_DEFAULT_TOPICS:
        Topic.objects.using(using).get_or_create(
            name=name, defaults={"project": project, "receives_http": name == settings.SENTINEL_TOPIC}
        )


class IngestionConfig(AppConfig):
    name = "ingestion"

    def ready(self) -> None:
        post_migrate.connect(create_default_project, sender=self)
