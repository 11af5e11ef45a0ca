"""Scrub what HTTP received before it reaches the log, with the scrubber that the workers use."""

from __future__ import annotations

from collections.abc import Sequence

from ingestion.models import Project
from ingestion.project_scrubber import project_scrubber
from ingestion.scrub.events import scrub_events
from ingestion.validate import Accepted


def scrub(accepted: Sequence[Accepted], project: Project) -> list[Accepted]:
    """Return the events without personal data and secrets, in the same order."""
    return [item for item, _counts in scrub_events(accepted, project_scrubber(project))]
