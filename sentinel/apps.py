from django.apps import AppConfig
from django.conf import settings
from django.contrib.admin import apps as admin


class SentinelConfig(AppConfig):
    name = "sentinel"

    def ready(self) -> None:
        from sentinel import checks  # noqa: F401  # registers them


# They serve no pages. Loading the admin takes a quarter of the time in which a worker that was killed is back.
ROLES_WITHOUT_PAGES = frozenset({"worker", "bridge", "alerts", "beat"})


class AdminConfig(admin.AdminConfig):
    """Django's admin with our site: what is wrong comes first."""

    default = False
    default_site = "sentinel.admin_site.SentinelAdminSite"

    def ready(self) -> None:
        if settings.ROLE not in ROLES_WITHOUT_PAGES:
            super().ready()
