from __future__ import annotations

import json

import pytest
from django.db import InterfaceError, OperationalError, connection
from django.test import Client, RequestFactory
from rest_framework.response import Response

from api.errors import answer_exception, page_not_found, server_error


def answer(error: Exception) -> Response:
    response = answer_exception(error, {})
    assert response is not None
    return response


def test_an_address_that_does_not_exist_is_answered_with_the_envelope(client: Client) -> None:
    response = client.get("/api/v1/anomaly")
    assert response.status_code == 404
    assert response.json() == {
        "error": {"code": "not_found", "message": "No such endpoint; /api/docs lists them all.", "fields": []}
    }


def test_elsewhere_it_is_a_page() -> None:
    response = page_not_found(RequestFactory().get("/nowhere"), Exception())
    assert response.headers["Content-Type"].startswith("text/html")


def test_another_method_is_answered_with_the_envelope(reader: Client) -> None:
    response = reader.delete("/api/v1/telemetry")
    assert response.status_code == 405
    assert response.json()["error"]["code"] == "method_not_allowed"
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"


def test_a_failure_of_ours_is_answered_with_the_envelope() -> None:
    response = server_error(RequestFactory().get("/api/v1/telemetry"))
    assert response.status_code == 500
    assert json.loads(response.content)["error"]["code"] == "internal_error"


def test_what_is_no_error_of_the_caller_goes_on_to_django() -> None:
    assert answer_exception(ZeroDivisionError(), {}) is None


@pytest.mark.parametrize("error", [OperationalError("connection refused"), InterfaceError("connection already closed")])
def test_without_postgres_the_answer_says_when_to_try_again(error: Exception) -> None:
    response = answer(error)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert response.data["error"]["code"] == "database_unavailable"


@pytest.mark.django_db(transaction=True)
def test_a_query_that_takes_too_long_is_stopped_and_says_what_to_do() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 50")
        try:
            with pytest.raises(OperationalError) as caught:
                cursor.execute("SELECT pg_sleep(5)")
        finally:
            cursor.execute("SET statement_timeout = 0")
    response = answer(caught.value)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert response.data["error"] == {
        "code": "query_timeout",
        "message": "The query took too long and was stopped. Ask for fewer `hours`, or name a `service` and a `model`.",
        "fields": [],
    }
