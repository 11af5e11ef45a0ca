"""The admin of detection: what was found, what it was compared with, and the settings in force."""

from detection.admin.anomalies import AnomalyAdmin
from detection.admin.baselines import BaselineAdmin, BaselineShiftAdmin
from detection.admin.configs import DetectionConfigAdmin

__all__ = ["AnomalyAdmin", "BaselineAdmin", "BaselineShiftAdmin", "DetectionConfigAdmin"]
