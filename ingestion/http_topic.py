"""The topic that a project's HTTP events go to."""

from __future__ import annotations

from django.conf import settings
from django.db import IntegrityError, transaction

from ingestion.log.base import LogUnavailable
from ingestion.log.configured import create_topics
from ingestion.models import Project, Topic


def http_topic(project: Project) -> str:
    """Return the name of the topic; a project's first use makes it, in the log first.

    Raises `LogUnavailable` where it has to be made and the log does not answer.
    """
    return _receiving(project) or _made(project)


def _receiving(project: Project) -> str | None:
    return Topic.objects.filter(project=project, receives_http=True).values_list("name", flat=True).first()


def _made(project: Project) -> str:
    name = f"{settings.SENTINEL_TOPIC}.{project.slug}"
    if Topic.objects.filter(name=name).exists():
        name = f"{name}.{project.pk}"  # Never append to what may be another project's topic.
    create_topics([name])
    try:
        with transaction.atomic():
            Topic.objects.create(name=name, project=project, receives_http=True)
    except IntegrityError:
        # Another request of the project was faster.
        existing = _receiving(project)
        if existing is None:
            raise LogUnavailable(f"Topic {name} belongs to another project") from None
        return existing
    return name
