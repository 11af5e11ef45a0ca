from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError

from detection.config import Config, UnknownConfig, config_of_version, current_config, forget_configs
from detection.models import DetectionConfig
from ingestion.models import Project

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    forget_configs()
    yield
    forget_configs()


@pytest.fixture
def project() -> Project:
    return Project.objects.create(slug="test", name="Test")


def add(*, threshold: float = 4.0, project: Project | None = None, hours: int = 0) -> DetectionConfig:
    return DetectionConfig.objects.create(
        project=project,
        settings={"zscore": {"threshold": threshold}},
        effective_from=datetime.now(UTC) + timedelta(hours=hours),
    )


def test_without_a_row_the_documented_defaults_are_in_force(project: Project) -> None:
    assert current_config(project.pk) == Config()
    assert config_of_version(0) == Config()


def test_the_newest_version_is_in_force(project: Project) -> None:
    add(hours=-2)
    newest = add(threshold=5.0, hours=-1)
    config = current_config(project.pk)
    assert config.version == newest.version
    assert config.profile.watching("cost_usd")[0].limit == 5.0


def test_a_project_s_own_goes_before_one_for_all(project: Project) -> None:
    own = add(project=project, hours=-2)
    add(hours=-1)
    assert current_config(project.pk).version == own.version
    assert current_config(project.pk + 1).version != own.version


def test_a_version_of_the_future_waits(project: Project) -> None:
    add(hours=1)
    assert current_config(project.pk).version == 0


def test_a_new_version_is_seen_when_the_cache_is_over(project: Project) -> None:
    current_config(project.pk, monotonic=lambda: 0.0)
    version = add(hours=-1).version
    assert current_config(project.pk, monotonic=lambda: 4.9).version == 0
    assert current_config(project.pk, monotonic=lambda: 5.0).version == version


def test_a_version_of_the_past_is_found_by_its_number(project: Project) -> None:
    old = add(threshold=4.5, hours=-2)
    add(hours=-1)
    assert config_of_version(old.version).profile.watching("cost_usd")[0].limit == 4.5
    with pytest.raises(UnknownConfig, match="999"):
        config_of_version(999)


def test_a_version_cannot_be_changed() -> None:
    config = add()
    config.settings = {}
    with pytest.raises(ValidationError, match="add a new version"):
        config.save()


def test_settings_that_cannot_be_used_are_refused_with_the_reason() -> None:
    with pytest.raises(ValidationError, match="zscore does not know treshold"):
        DetectionConfig(settings={"zscore": {"treshold": 3}}).full_clean()
