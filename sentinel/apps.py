from django.apps import AppConfig
from django.contrib.admin import apps as admin


class SentinelConfig(AppConfig):
    name = "sentinel"

    def ready(self) -> None:
        from sentinel import checks  # noqa: F401  # registers them


class AdminConfig(admin.AdminConfig):
    """Django's admin with our site: what is wrong comes first."""

    default = False
    default_site = "sentinel.admin_site.SentinelAdminSite"
