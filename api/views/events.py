"""POST /api/v1/events"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from api.body import read_body
from api.documentation import events as doc
from api.errors import ApiError, ErrorCode, FieldError, envelope, invalid_parameter
from api.models import Scope
from api.receive import Append, Verdicts, append_records, judge, scrub_accepted, split_json, split_lines
from api.views.base import ApiView
from ingestion.envelope import Envelope
from ingestion.log.producer import append
from ingestion.reject import WHOLE_EVENT

SPLITTERS: Mapping[str, Callable[[bytes], Envelope]] = {
    "application/json": split_json,
    "application/x-ndjson": split_lines,
    "application/jsonl": split_lines,
}
MAX_IDEMPOTENCY_KEY = 255


class EventsView(ApiView):
    """Receives telemetry over HTTP and answers once it is durable."""

    scope = Scope.INGEST
    append: ClassVar[Append] = staticmethod(append)

    @extend_schema(
        operation_id="send_events",
        summary="Send telemetry events",
        description=doc.DESCRIPTION,
        parameters=doc.PARAMETERS,
        request=doc.REQUEST,
        responses=doc.RESPONSES,
        examples=doc.EXAMPLES,
        tags=["ingestion"],
    )
    def post(self, request: Request) -> Response:
        """Judge, scrub, append, answer."""
        split = _splitter(request)
        key = _idempotency_key(request)
        body = _body(request)
        received = split(body)
        verdicts = judge(received.events, project=self.caller.project, idempotency_key=key)
        verdicts, records = scrub_accepted(received, verdicts, project=self.caller.project)
        if records:
            append_records(records, project=self.caller.project, append=self.append)
        verdicts.count()
        return _answer(verdicts, received, retention_days=self.caller.project.retention_days)


def _splitter(request: Request) -> Callable[[bytes], Envelope]:
    content_type = request.content_type.partition(";")[0].strip().lower()
    if content_type not in SPLITTERS:
        accepted = ", ".join(SPLITTERS)
        raise ApiError(
            415,
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            f"Content-Type must be application/json, or application/x-ndjson for one event per line; it is "
            f"{content_type or 'absent'}.",
            fields=[FieldError("Content-Type", f"Use one of: {accepted}.")],
            headers={"Accept": accepted},
        )
    return SPLITTERS[content_type]


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (0 < len(key) <= MAX_IDEMPOTENCY_KEY and key.isprintable()):
        raise invalid_parameter("Idempotency-Key", f"Use 1 to {MAX_IDEMPOTENCY_KEY} printable characters.")
    return key


def _body(request: Request) -> bytes:
    length = request.headers.get("Content-Length", "")
    return read_body(
        request._request,
        encoding=request.headers.get("Content-Encoding", ""),
        declared_length=int(length) if length.isdecimal() else None,
        max_bytes=settings.SENTINEL_MAX_BODY_BYTES,
    )


def _answer(verdicts: Verdicts, received: Envelope, *, retention_days: int) -> Response:
    body = verdicts.shape(retention_days=retention_days)
    if verdicts.accepted:
        return Response(body, status=202)
    fields = [
        FieldError(_path(rejected.field, index, received), rejected.message) for index, rejected in verdicts.rejected
    ]
    count = len(fields)
    message = fields[0].reason if count == 1 else f"None of the {count} events was accepted."
    error: dict[str, Any] = envelope(ErrorCode.NO_EVENT_ACCEPTED, message, fields)
    return Response(error | body, status=422)


def _path(field: str, index: int, received: Envelope) -> str:
    """Return where a field stands in the body."""
    if received.is_single:
        return field
    place = f"events[{index}]"
    return place if field == WHOLE_EVENT else f"{place}.{field}"
