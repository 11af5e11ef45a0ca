"""Projects and the topics that feed them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.http import HttpRequest

from ingestion.http_topic import http_topic
from ingestion.log.base import LogUnavailable
from ingestion.models import Project, Topic

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin, TabularInline
else:
    from unfold.admin import ModelAdmin, TabularInline


class TopicInline(TabularInline):  # type: ignore[type-arg]  # unfold's class takes no parameter at run time
    """The topics of a project."""

    model = Topic
    extra = 0
    can_delete = False
    fields = ["name", "receives_http"]
    readonly_fields = ["name", "receives_http"]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Topics are added in their own form, which explains them."""
        return False


@admin.register(Project)
class ProjectAdmin(ModelAdmin):  # type: ignore[type-arg]  # as above
    """A new project gets the topic for its HTTP events at once."""

    list_display = ["name", "slug", "retention_days", "text_policy", "keep_embeddings", "pseudonymise", "created_at"]
    search_fields = ["name", "slug"]
    readonly_fields = ["created_at"]
    fieldsets = [
        (None, {"fields": ["name", "slug"]}),
        ("What is kept", {"fields": ["retention_days", "text_policy", "keep_embeddings", "pseudonymise"]}),
        (None, {"fields": ["created_at"]}),
    ]
    inlines = [TopicInline]

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> dict[str, Sequence[str]]:
        """Propose a slug while the project is new."""
        return {} if obj else {"slug": ["name"]}

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Keep the slug, which names topics and settings."""
        return ["slug", "created_at"] if obj else ["created_at"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: its events would stay behind without an owner."""
        return False

    def save_model(self, request: HttpRequest, obj: Project, form: Any, change: bool) -> None:
        """Save, and give a new project its topic."""
        super().save_model(request, obj, form, change)
        if change:
            return
        try:
            messages.info(request, f"Events sent over HTTP with a key of this project go to topic {http_topic(obj)}.")
        except LogUnavailable:
            messages.warning(request, "The log does not answer; the project's first HTTP event will make its topic.")


@admin.register(Topic)
class TopicAdmin(ModelAdmin):  # type: ignore[type-arg]  # as above
    """All records of a topic belong to one project, for good: offsets already ingested would not move with it."""

    list_display = ["name", "project", "receives_http"]
    list_filter = ["project", "receives_http"]
    list_select_related = ["project"]
    search_fields = ["name"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Keep name and project of a topic that exists."""
        return ["name", "project"] if obj else []
