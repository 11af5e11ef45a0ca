from __future__ import annotations

import pytest
from pytest_django import Settings

from ingestion.http_topic import http_topic
from ingestion.models import InboxPartition, Project, Topic

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _without_kafka(settings: Settings) -> None:
    settings.SENTINEL_BROKERS = []


@pytest.fixture
def shop() -> Project:
    return Project.objects.create(slug="shop", name="Shop")


def test_the_default_project_has_the_default_topic() -> None:
    assert http_topic(Project.objects.get(slug="default")) == "llm.telemetry"


def test_a_projects_first_use_makes_its_topic(shop: Project) -> None:
    assert http_topic(shop) == "llm.telemetry.shop"
    assert InboxPartition.objects.filter(topic="llm.telemetry.shop").exists()
    assert http_topic(shop) == "llm.telemetry.shop"
    assert Topic.objects.filter(project=shop).count() == 1


def test_a_topic_of_another_project_is_never_taken(shop: Project) -> None:
    other = Project.objects.create(slug="other", name="Other")
    Topic.objects.create(name="llm.telemetry.shop", project=other)
    assert http_topic(shop) == f"llm.telemetry.shop.{shop.pk}"
