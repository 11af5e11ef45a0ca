"""The log as a channel: needs no set-up, so a new installation has it from the start."""

from __future__ import annotations

from datetime import datetime

import structlog

from alerting.channels.base import Alert, Channel, Receipt, Target

log = structlog.get_logger(__name__)


class LogChannel(Channel):
    """Writes one structured line per alert."""

    name = "log"

    def send(self, alert: Alert, target: Target, *, now: datetime) -> Receipt:
        log.warning(
            "alert",
            alert_id=str(alert.id),
            rule=alert.rule_name,
            project=alert.project,
            service=alert.service,
            model=alert.model,
            anomaly_type=alert.anomaly_type,
            severity=alert.severity,
            explanation=alert.explanation,
        )
        return Receipt()
