"""GET /health/live, /health/ready and /health/startup, for orchestrators and load balancers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from api.health import STARTUP_PROBES, Check, run_probes

_started = threading.Event()


@require_safe
@never_cache
def live(_request: HttpRequest) -> HttpResponse:
    """Answer 200 while the process can answer at all; asks nothing else, so that no outage elsewhere restarts it."""
    return JsonResponse({"status": "healthy", "timestamp": _timestamp()})


@require_safe
@never_cache
def ready(_request: HttpRequest) -> HttpResponse:
    """Answer 200 while traffic can be taken: `ready`, or `degraded` where something that can be spared is away."""
    checks = run_probes()
    if not all(check.up for check in checks if check.needed):
        return _answer("not_ready", checks, status=503)
    return _answer("ready" if all(check.up for check in checks) else "degraded", checks, status=200)


@require_safe
@never_cache
def startup(_request: HttpRequest) -> HttpResponse:
    """Answer 200 once the database was reached with every migration applied, and from then on."""
    if _started.is_set():
        return JsonResponse({"status": "started", "timestamp": _timestamp()})
    checks = run_probes(STARTUP_PROBES)
    if all(check.up for check in checks):
        _started.set()
        return _answer("started", checks, status=200)
    return _answer("starting", checks, status=503)


def _answer(status_text: str, checks: Sequence[Check], *, status: int) -> HttpResponse:
    body: dict[str, Any] = {
        "status": status_text,
        "timestamp": _timestamp(),
        "checks": {check.name: check.shape() for check in checks},
    }
    return JsonResponse(body, status=status)


def _timestamp() -> str:
    return f"{timezone.now():%Y-%m-%dT%H:%M:%SZ}"
