"""The versions of the detection settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from detection.models import DetectionConfig
from detection.profile import documented_defaults
from ingestion.record_cells import as_code

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
else:
    from unfold.admin import ModelAdmin


@admin.register(DetectionConfig)
class DetectionConfigAdmin(ModelAdmin):  # type: ignore[type-arg]  # unfold's class takes no parameter at run time
    """Versions are added, never changed: a rebuild must find what was in force."""

    list_display = ["version", "project", "effective_from", "settings_shown"]
    list_filter = ["project"]
    list_select_related = ["project"]
    fields = ["project", "settings", "defaults_shown"]
    readonly_fields = ["defaults_shown"]
    empty_hint = "No configuration: the documented defaults are in force."

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: add a new version."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: batches name the version."""
        return False

    @admin.display(description="settings")
    def settings_shown(self, config: DetectionConfig) -> SafeString:
        """Show what differs from the defaults."""
        return as_code(config.settings)

    @admin.display(description="defaults")
    def defaults_shown(self, _config: DetectionConfig) -> SafeString:
        """Show what holds for every setting that is left out, with its name."""
        return as_code(documented_defaults())
