"""What a caller may do: each view names the scope it needs."""

from __future__ import annotations

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from api.authentication import Caller
from api.errors import ApiError, ErrorCode


class HasScope(BasePermission):
    """Refuses callers without the view's `scope`, and says which they have."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Return True, or raise the 403."""
        caller = request.user
        assert isinstance(caller, Caller)  # CallerAuthentication runs first
        needed: str = view.scope  # type: ignore[attr-defined]  # an ApiView
        if caller.may(needed):
            return True
        has = ", ".join(sorted(caller.scopes)) or "none"
        message = f"This endpoint needs the scope {needed}; {caller.named} has: {has}."
        raise ApiError(403, ErrorCode.MISSING_SCOPE, message)
