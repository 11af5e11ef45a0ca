"""Projects as this process last saw them: every batch needs one, and they hardly ever change."""

from __future__ import annotations

import time

from ingestion.models import Project

CACHE_SECONDS = 5.0

# project id: (end on the monotonic clock, project)
_known: dict[int, tuple[float, Project]] = {}


def known_project(project_id: int) -> Project:
    """Return the project, its settings at most `CACHE_SECONDS` old. Raises `Project.DoesNotExist`."""
    until, project = _known.get(project_id, (float("-inf"), None))
    if project is None or time.monotonic() >= until:
        project = Project.objects.get(pk=project_id)
        _known[project_id] = (time.monotonic() + CACHE_SECONDS, project)
    return project
