"""The scrubber of a project: its rules and its keys."""

from __future__ import annotations

from functools import lru_cache

from ingestion.models import Project
from ingestion.scrub import Scrubber


def project_scrubber(project: Project) -> Scrubber:
    """Return the scrubber that this process keeps for the project; threads may share it.

    User ids are always pseudonyms under the project's key; other values only where the project asks for it.
    """
    key = bytes(project.pseudonym_key)
    return _scrubber(key if project.pseudonymise else None, key)


@lru_cache(maxsize=256)
def _scrubber(key: bytes | None, user_key: bytes) -> Scrubber:
    return Scrubber(key=key, user_key=user_key)
