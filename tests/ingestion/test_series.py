from __future__ import annotations

import pytest
from django.db import connection

from ingestion.models import Project, Series
from ingestion.series import SeriesIds

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def project() -> Project:
    return Project.objects.create(slug="series", name="Series")


def test_a_series_has_one_id(project: Project) -> None:
    key = (project.pk, "chat", "small")
    assert SeriesIds().of([key]) == SeriesIds().of([key])
    assert Series.objects.count() == 1


def test_what_is_known_costs_no_query(project: Project, django_assert_num_queries: pytest.FixtureRequest) -> None:
    ids = SeriesIds()
    ids.of([(project.pk, "chat", "small")])
    with django_assert_num_queries(0):  # type: ignore[operator]  # a fixture that is a function
        ids.of([(project.pk, "chat", "small")])


def test_an_id_of_an_earlier_session_is_looked_up_again(project: Project) -> None:
    """A crash that takes back commits, or an older backup, gives the id to another series; and it ends every session."""
    ids = SeriesIds()
    key, other = (project.pk, "chat", "small"), (project.pk, "search", "small")
    lost = ids.of([key])[key]
    Series.objects.all().delete()
    Series.objects.create(id=lost, project=project, service="search", model="small")
    connection.close()
    found = ids.of([key, other])
    assert found[other] == lost
    assert found[key] != lost
