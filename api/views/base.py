"""What every view of the API shares: callers, scopes, the error envelope, metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponseBase
from rest_framework.response import Response
from rest_framework.views import APIView

from api.authentication import Caller, CallerAuthentication
from api.cors import add_headers, answer_preflight, is_preflight
from api.errors import answer_exception
from api.metrics import HTTP_REQUEST_SECONDS, HTTP_REQUESTS
from api.models import Scope
from api.permissions import HasScope


class ApiView(APIView):
    """A view for callers of one project that have `scope`."""

    authentication_classes = [CallerAuthentication]
    permission_classes = [HasScope]
    scope: ClassVar[Scope] = Scope.READ

    @property
    def caller(self) -> Caller:
        """Who asks; only valid once the request is authenticated."""
        assert isinstance(self.request.user, Caller)
        return self.request.user

    def get_exception_handler(self) -> Callable[[Exception, Mapping[str, Any]], Response | None]:
        """Answer every error with the envelope."""
        return answer_exception

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer the request and count it."""
        started = time.perf_counter()
        if is_preflight(request):
            return answer_preflight(request, self.allowed_methods)
        response = super().dispatch(request, *args, **kwargs)
        add_headers(request, response)
        route = request.resolver_match.route if request.resolver_match else ""
        method = request.method or ""
        HTTP_REQUESTS.labels(method, route, str(response.status_code)).inc()
        HTTP_REQUEST_SECONDS.labels(method, route).observe(time.perf_counter() - started)
        return response
