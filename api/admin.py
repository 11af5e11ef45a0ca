"""API keys in the admin: made here, shown once, revoked but never deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from api import keys
from api.models import ApiKey, Scope

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
else:
    from unfold.admin import ModelAdmin

LIFE = ("shown_prefix", "state", "last_used_at", "revoked_at", "created_at")


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]  # takes no parameter at run time
    """Scopes as boxes to tick."""

    scopes = forms.MultipleChoiceField(
        choices=Scope.choices,
        initial=[Scope.INGEST, Scope.READ],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="The least that is needed.",
    )

    class Meta:
        model = ApiKey
        fields = ["project", "name", "scopes", "expires_at"]


@admin.register(ApiKey)
class ApiKeyAdmin(ModelAdmin):  # type: ignore[type-arg]  # unfold's class takes no parameter at run time
    """The page after adding shows the key; nothing later can."""

    form = ApiKeyForm
    list_display = ["name", "project", "shown_prefix", "scopes_text", "state", "last_used_at", "created_at"]
    list_filter = ["project", "revoked_at"]
    list_select_related = ["project"]
    search_fields = ["name", "=prefix"]
    actions = ["revoke"]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Show the life of a key that exists."""
        settable = ["project", "name", "scopes", "expires_at"]
        return [*settable, *LIFE] if obj else settable

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Keep the project: a key that moves would open another tenant to whoever holds it."""
        return ["project", *LIFE] if obj else []

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: a revoked key stays as a record of who had access."""
        return False

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        """Give a new key its secret, which the answer shows."""
        if not change:
            token = keys.generate()
            obj.prefix, obj.digest = token.prefix, token.digest
            setattr(request, "new_token", token)  # noqa: B010  # until the answer is rendered
        super().save_model(request, obj, form, change)

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        """Show the key in this answer: a redirect would have to keep it somewhere."""
        context = {
            **self.admin_site.each_context(request),
            "title": "API key created",
            "key": obj,
            "token": str(getattr(request, "new_token", "")),
            "opts": self.opts,
        }
        response = TemplateResponse(request, "api/key_created.html", context)
        response.headers["Cache-Control"] = "no-store"
        return response

    @admin.action(description="Revoke: refuse from now on", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Revoke the chosen keys."""
        count = queryset.filter(revoked_at=None).update(revoked_at=timezone.now())
        messages.success(request, f"{count} keys are refused from now on.")

    @admin.display(description="key")
    def shown_prefix(self, key: ApiKey) -> str:
        """Show what identifies the key in a log or a secrets scan."""
        return f"sk_sentinel_{key.prefix}_…"

    @admin.display(description="scopes")
    def scopes_text(self, key: ApiKey) -> str:
        """Show the scopes in a line."""
        return ", ".join(key.scopes)

    @admin.display(description="state")
    def state(self, key: ApiKey) -> str:
        """Say whether the key is accepted."""
        now = timezone.now()
        if key.revoked_at is not None and key.revoked_at <= now:
            return "revoked"
        return "expired" if key.expires_at is not None and key.expires_at <= now else "accepted"
