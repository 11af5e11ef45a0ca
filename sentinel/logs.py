"""Structured logs: one JSON object a line, or aligned key=value for a terminal.

No log line holds prompt, completion or metadata text: events are logged by id, offset and size alone.
"""

from __future__ import annotations

import logging
import logging.config
from typing import Any

import structlog

# What others log without need: every reconnect, every task, every request.
QUIET = {
    "kafka": "WARNING",
    "kafka.net.selector": "ERROR",
    "kafka.coordinator": "ERROR",
    "celery.app.trace": "WARNING",
    "celery.worker.strategy": "WARNING",
}


def configure(options: dict[str, Any]) -> None:
    """Set up the standard library's logging and structlog alike; called by Django with `settings.LOGGING`."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer() if options["as_json"] else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        # A logger that was used before would keep what `structlog.testing.capture_logs` replaces; lines are few.
        cache_logger_on_first_use=False,
    )
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": shared,
        "processors": [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            renderer,
        ],
    }
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"structured": formatter},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
            "root": {"handlers": ["stderr"], "level": options["level"]},
            "loggers": {name: {"level": level} for name, level in QUIET.items()},
        }
    )
