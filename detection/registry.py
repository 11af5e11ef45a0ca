"""The one list of per-event detectors. To add one: a file in `detectors/`, a line here."""

from __future__ import annotations

from detection.detectors.base import Detector
from detection.detectors.cusum import CUSUM
from detection.detectors.iqr import IQR
from detection.detectors.mad import MAD
from detection.detectors.z_score import ZScore

# In the order in which an anomaly names them: the first one that fired is its `detection_method`.
# The order is part of the encoded state, as far as detectors have a memory.
DETECTORS: tuple[type[Detector], ...] = (ZScore, IQR, MAD, CUSUM)

MEMORY_WIDTH = sum(kind.memory_width for kind in DETECTORS)


def memory_columns(method: str) -> slice:
    """Return the columns of a series' memory that belong to the detector `method`."""
    start = 0
    for kind in DETECTORS:
        if kind.method == method:
            return slice(start, start + kind.memory_width)
        start += kind.memory_width
    raise KeyError(method)
