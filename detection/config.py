"""The detection configuration in force, and those of the past, as plain values."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from django.db.models import F, Q
from django.db.models.functions import Now

from detection.models import DetectionConfig
from detection.profile import Profile

CACHE_SECONDS = 5.0
DEFAULT_VERSION = 0


@dataclass(frozen=True, slots=True)
class Config:
    """A version of the settings; `version` goes to the batch, so that a rebuild scores with the same."""

    version: int = DEFAULT_VERSION
    profile: Profile = field(default_factory=Profile)


class UnknownConfig(Exception):
    """A batch names a configuration that is gone: its baselines cannot be rebuilt."""


# project id: (end on the monotonic clock, configuration); rows never change, so that versions may stay for good
_current: dict[int, tuple[float, Config]] = {}
_versions: dict[int, Config] = {DEFAULT_VERSION: Config()}


def current_config(project_id: int, *, monotonic: Callable[[], float] = time.monotonic) -> Config:
    """Return the newest configuration in force for the project, at most `CACHE_SECONDS` old.

    One of the project's own goes before one for all projects.
    """
    until, config = _current.get(project_id, (float("-inf"), Config()))
    if monotonic() >= until:
        row = (
            DetectionConfig.objects.filter(Q(project_id=project_id) | Q(project=None), effective_from__lte=Now())
            .order_by(F("project_id").desc(nulls_last=True), "-effective_from", "-version")
            .first()
        )
        config = Config() if row is None else _remembered(row)
        _current[project_id] = (monotonic() + CACHE_SECONDS, config)
    return config


def config_of_version(version: int) -> Config:
    """Return the configuration that a batch was scored with. Raises UnknownConfig."""
    if version not in _versions:
        row = DetectionConfig.objects.filter(version=version).first()
        if row is None:
            raise UnknownConfig(f"detection configuration {version} is gone")
        _remembered(row)
    return _versions[version]


def forget_configs() -> None:
    """Empty this process's cache; for tests and for whoever has just added a version."""
    _current.clear()
    _versions.clear()
    _versions[DEFAULT_VERSION] = Config()


def _remembered(row: DetectionConfig) -> Config:
    if row.version not in _versions:
        _versions[row.version] = Config(version=row.version, profile=Profile.from_dict(row.settings))
    return _versions[row.version]
