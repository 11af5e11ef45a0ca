"""What an operator can mend, in one line."""

from __future__ import annotations

_UP = "start it with `sentinel up`, or see `sentinel check`"

# Class of the error, by its full name (nothing is imported for it), and what to do. An empty hint: the message has one.
EXPECTED: dict[str, str] = {
    "sentinel.cli.problem.Problem": "",
    "sentinel.installation.InstallationError": "",
    "sentinel.services.base.ServiceUnavailable": "",
    "django.core.exceptions.ImproperlyConfigured": "",
    "django.core.management.base.CommandError": "",
    "ingestion.log.base.LogUnavailable": _UP,
    "django.db.utils.OperationalError": _UP,
    "django.db.utils.ProgrammingError": "the database may be older than this version: run `sentinel up` once",
    "psycopg2.OperationalError": _UP,
    "redis.exceptions.RedisError": _UP,
    "kafka.errors.KafkaError": _UP,
    "kombu.exceptions.OperationalError": _UP,
    "builtins.PermissionError": "run as the owner of that file",
    "builtins.FileNotFoundError": "check the path",
    "builtins.IsADirectoryError": "name a file",
}


class Problem(Exception):
    """A subcommand cannot do what was asked; `hint` says what to do instead."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(f"{message} ({hint})")


def describe(error: BaseException) -> str | None:
    """Return the line for an error that can be expected, None for a mistake of ours."""
    for kind in type(error).__mro__:
        hint = EXPECTED.get(f"{kind.__module__}.{kind.__qualname__}")
        if hint is not None:
            message = str(error).strip().split("\n", 1)[0] or type(error).__name__
            return f"{message} ({hint})" if hint else message
    return None
