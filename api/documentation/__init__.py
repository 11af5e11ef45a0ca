"""What OpenAPI says about answers: shapes, examples, errors. `tests/api` checks real answers against it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiResponse
from rest_framework import serializers


def paged(body: type[serializers.Serializer[Any]]) -> OpenApiResponse:
    """Return the documentation of a page."""
    return OpenApiResponse(body, description="A page; the `Link` header has the address of the next one, if any.")
