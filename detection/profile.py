"""What is watched, by which detectors, with which parameters. Frozen; the defaults are the documented ones."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from detection.detectors.base import Detector
from detection.registry import DETECTORS

# The columns of `fold.Rows.values`.
METRICS = ("latency_ms", "total_tokens", "cost_usd")

# A detector's limit is multiplied by it: low sensitivity, high limit.
SENSITIVITY = {"low": 1.33, "medium": 1.0, "high": 0.67}

_BY_LABEL = {name: kind for kind in DETECTORS for name in (kind.label, kind.method)}


class ProfileError(ValueError):
    """A detection configuration cannot be used; the message names the key and what is allowed."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A detector with its parameters, sensitivity applied, and the metrics that it watches."""

    detector: Detector
    metrics: tuple[str, ...]


def _reference_detectors() -> tuple[Assignment, ...]:
    return tuple(Assignment(detector=kind(), metrics=kind.metrics) for kind in DETECTORS)


@dataclass(frozen=True, slots=True)
class Profile:
    """A detection configuration. Sizes are counts of samples.

    window_size        last learned values that make up a baseline
    min_samples        learned values before a baseline is used at all
    young_samples      below, an anomaly is never called critical
    new_level_samples  consecutive values beyond a fence after which their level is the baseline
    series_limit       series per cursor and project; later ones are neither scored nor learned
    """

    window_size: int = 1_000
    min_samples: int = 10
    young_samples: int = 100
    new_level_samples: int = 1_000
    series_limit: int = 5_000
    detectors: tuple[Assignment, ...] = field(default_factory=_reference_detectors)

    def watching(self, metric: str) -> tuple[Detector, ...]:
        """Return the detectors of `metric`, in the registry's order."""
        return tuple(each.detector for each in self.detectors if metric in each.metrics)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Profile:
        """Build a profile from the documented `detection:` section; what is absent keeps its default.

        `enabled_detectors` (list), `baseline` (mapping of this class' sizes) and one mapping per detector with its
        parameters, `sensitivity` and `metrics`. Raises ProfileError.
        """
        settings = _mapping(settings, "detection")
        _refuse_unknown(settings, {"enabled_detectors", "baseline", *_BY_LABEL}, "detection")
        sizes = _sizes(_mapping(settings.get("baseline", {}), "baseline"))
        enabled = _enabled(settings.get("enabled_detectors", [kind.label for kind in DETECTORS]))
        assignments = tuple(_assignment(kind, _section(kind, settings)) for kind in DETECTORS if kind in enabled)
        return cls(detectors=assignments, **sizes)


def documented_defaults() -> dict[str, Any]:
    """Return the settings that stand for `Profile()`, every one by its documented name."""
    sizes = {each.name: each.default for each in dataclasses.fields(Profile) if each.name != "detectors"}
    detectors = {
        kind.label: dataclasses.asdict(kind()) | {"sensitivity": "medium", "metrics": list(kind.metrics)}  # type: ignore[call-overload]
        for kind in DETECTORS
    }
    return {"enabled_detectors": list(detectors), "baseline": sizes, **detectors}


def _mapping(value: object, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ProfileError(f"{key} must be a mapping, not {type(value).__name__}")
    return value


def _refuse_unknown(section: Mapping[str, Any], known: set[str], key: str) -> None:
    unknown = sorted(set(section) - known)
    if unknown:
        raise ProfileError(f"{key} does not know {', '.join(map(str, unknown))}; it knows {', '.join(sorted(known))}")


def _sizes(section: Mapping[str, Any]) -> dict[str, int]:
    names = {each.name for each in dataclasses.fields(Profile)} - {"detectors"}
    _refuse_unknown(section, names, "baseline")
    for name, value in section.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ProfileError(f"baseline.{name} must be a whole number of at least 1, not {value!r}")
    return dict(section)


def _enabled(names: object) -> set[type[Detector]]:
    if not isinstance(names, (list, tuple)):
        raise ProfileError("enabled_detectors must be a list")
    unknown = [name for name in names if name not in _BY_LABEL]
    if unknown:
        known = ", ".join(kind.label for kind in DETECTORS)
        raise ProfileError(f"enabled_detectors does not know {unknown[0]!r}; it knows {known}")
    return {_BY_LABEL[name] for name in names}


def _section(kind: type[Detector], settings: Mapping[str, Any]) -> Mapping[str, Any]:
    given = [name for name in dict.fromkeys((kind.label, kind.method)) if name in settings]
    if len(given) > 1:
        raise ProfileError(f"{given[0]} and {given[1]} are the same detector; give one of them")
    return _mapping(settings[given[0]], given[0]) if given else {}


def _assignment(kind: type[Detector], section: Mapping[str, Any]) -> Assignment:
    parameters = {each.name for each in dataclasses.fields(kind)}  # type: ignore[arg-type]  # all are dataclasses
    _refuse_unknown(section, parameters | {"sensitivity", "metrics"}, kind.label)
    values = {name: _positive(section[name], f"{kind.label}.{name}") for name in parameters & set(section)}
    sensitivity = section.get("sensitivity", "medium")
    if sensitivity not in SENSITIVITY:
        raise ProfileError(f"{kind.label}.sensitivity must be one of {', '.join(SENSITIVITY)}, not {sensitivity!r}")
    return Assignment(
        detector=kind(**values).scaled(SENSITIVITY[sensitivity]),
        metrics=_metrics(section.get("metrics", kind.metrics), kind.label),
    )


def _positive(value: object, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        raise ProfileError(f"{key} must be a number above 0, not {value!r}")
    return float(value)


def _metrics(names: object, label: str) -> tuple[str, ...]:
    if not isinstance(names, (list, tuple)):
        raise ProfileError(f"{label}.metrics must be a list")
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise ProfileError(f"{label}.metrics does not know {unknown[0]!r}; it knows {', '.join(METRICS)}")
    return tuple(name for name in METRICS if name in names)
