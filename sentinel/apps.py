from django.apps import AppConfig


class SentinelConfig(AppConfig):
    name = "sentinel"

    def ready(self) -> None:
        from sentinel import checks  # noqa: F401  # registers them
