"""The topic that a project's HTTP events go to."""

from __future__ import annotations

from django.conf import settings

from ingestion.log.configured import create_topics
from ingestion.models import Project, Topic


def http_topic(project: Project) -> str:
    """Return the name of the topic; a project's first use makes it, in the log first.

    Raises `LogUnavailable` where it has to be made and the log does not answer.
    """
    name = project.topics.filter(receives_http=True).values_list("name", flat=True).first()
    if name is not None:
        return name
    name = f"{settings.SENTINEL_TOPIC}.{project.slug}"
    create_topics([name])
    Topic.objects.get_or_create(name=name, defaults={"project": project, "receives_http": True})
    return name
