"""GET /: where to go from here, and what to run while there is nothing to see."""

from __future__ import annotations

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from ingestion.models import Event


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """Send staff to the admin and show everybody else the links."""
    try:
        if request.user.is_authenticated and request.user.is_staff:
            return redirect("admin:index")
        state = "receiving" if Event.objects.exists() else "empty"
    except DatabaseError:
        state = "unreachable"
    return render(request, "api/index.html", {"state": state})
