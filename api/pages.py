"""Keyset pages: the next page starts after the last row of this one, however many rows arrive in between."""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request

PositionPart = str | int | datetime | uuid.UUID

_READERS: Mapping[type, Callable[[Any], PositionPart]] = {
    str: str,
    int: int,
    datetime: datetime.fromisoformat,
    uuid.UUID: uuid.UUID,
}


def encode_position(parts: Sequence[PositionPart]) -> str:
    """Return the opaque text of a position."""
    items = [part if isinstance(part, str | int) else str(part) for part in parts]
    compact = json.dumps(items, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(compact).rstrip(b"=").decode()


def decode_position(text: str, types: Sequence[type]) -> tuple[PositionPart, ...]:
    """Return the parts of a position; raise `ValueError` for anything that `encode_position` did not write."""
    padded = text + "=" * (-len(text) % 4)
    items = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    if not isinstance(items, list) or len(items) != len(types):
        raise ValueError("not a position of this list")
    parts = tuple(_READERS[kind](item) for kind, item in zip(types, items, strict=True))
    if any(isinstance(part, datetime) and part.tzinfo is None for part in parts):
        raise ValueError("a time without an offset")
    if any(isinstance(part, int) and abs(part) >= 2**63 for part in parts):
        raise ValueError("a number outside bigint")
    return parts


@extend_schema_field(OpenApiTypes.STR)
class CursorField(serializers.Field[tuple[PositionPart, ...], str, str, Any]):
    """The `cursor` parameter: copied from a `Link` header, never made up."""

    def __init__(self, types: Sequence[type], **kwargs: Any) -> None:
        super().__init__(required=False, help_text="From the `Link` header of the page before.", **kwargs)
        self._types = tuple(types)

    def to_internal_value(self, data: str) -> tuple[PositionPart, ...]:
        """Return the position that the text names."""
        try:
            return decode_position(data, self._types)
        except (ValueError, TypeError, AttributeError, RecursionError, binascii.Error):
            raise serializers.ValidationError("Not a cursor of this list; take it from a `Link` header.") from None

    def to_representation(self, value: tuple[PositionPart, ...]) -> str:
        """Return the opaque text."""
        return encode_position(value)


def next_link(request: Request, position: Sequence[PositionPart] | None) -> dict[str, str]:
    """Return the `Link` header of a page that has a next one, else no header."""
    if position is None:
        return {}
    parameters = {**request.query_params.dict(), "cursor": encode_position(position)}
    url = request.build_absolute_uri(f"{request.path}?{urlencode(parameters)}")
    return {"Link": f'<{url}>; rel="next"'}
