"""Over the whole URL conf: nothing of one project can be seen or touched with a key of another."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, get_resolver

from detection.models import Anomaly
from ingestion.models import DeadLetter, Event

SECRET = "service-of-the-default-project"


def api_routes() -> list[str]:
    routes = [str(item.pattern) for item in get_resolver().url_patterns if isinstance(item, URLPattern)]
    return [route for route in routes if route.startswith("api/v1/")]


@pytest.fixture
def ids(
    add_event: Callable[..., Event], add_anomaly: Callable[..., Anomaly], add_dead_letter: Callable[..., DeadLetter]
) -> dict[str, Any]:
    add_event(service=SECRET)
    return {
        "anomalies": add_anomaly(service=SECRET).pk,
        "dead-letters": add_dead_letter(payload=json.dumps({"service_name": SECRET})).pk,
    }


def answers(client: Client, path: str) -> Iterator[Any]:
    for method in ("get", "post", "put", "patch", "delete"):
        response = getattr(client, method)(path, content_type="application/json")
        if response.status_code != 405:
            yield response


def test_the_url_conf_has_the_endpoints_that_this_test_is_about() -> None:
    assert {"api/v1/telemetry", "api/v1/anomalies/<uuid:pk>", "api/v1/baselines"} <= set(api_routes())


@pytest.mark.parametrize("route", api_routes())
def test_a_stranger_gets_404_for_rows_and_nothing_in_lists(stranger: Client, ids: dict[str, Any], route: str) -> None:
    collection = route.split("/")[2]
    if "<" in route:
        kind = route.partition("<")[2].partition(">")[0]
        path = "/" + route.replace(f"<{kind}>", str(ids[collection]))
        found = list(answers(stranger, path))
        assert found
        assert {response.status_code for response in found} == {404}
    else:
        path = f"/{route}"
    for response in answers(stranger, path):
        assert SECRET not in response.content.decode()


@pytest.mark.parametrize("route", api_routes())
def test_without_a_key_every_endpoint_answers_401(anonymous: Client, ids: dict[str, Any], route: str) -> None:
    path = "/" + route.replace("<uuid:pk>", str(ids["anomalies"])).replace("<int:pk>", str(ids["dead-letters"]))
    for method in ("get", "post", "put", "patch", "delete"):
        assert getattr(anonymous, method)(path).status_code == 401
