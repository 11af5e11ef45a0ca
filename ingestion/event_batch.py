"""The events of one range of the log between scrubbing and COMMIT: parallel sequences, in offset order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ingestion.validate import Accepted

SeriesKey = tuple[int, str, str]
"""Project id, service, model."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class EventBatch:
    """Scrubbed events with their place in the log. `pii` holds what was scrubbed by type, None for nothing."""

    project_id: int
    offsets: Sequence[int]
    log_times_ms: Sequence[int]
    accepted: Sequence[Accepted]
    pii: Sequence[Mapping[str, int] | None]

    def __len__(self) -> int:
        return len(self.offsets)

    def take(self, indices: Sequence[int]) -> EventBatch:
        """Return the events at these positions, in this order."""
        if list(indices) == list(range(len(self))):
            return self
        return EventBatch(
            self.project_id,
            [self.offsets[i] for i in indices],
            [self.log_times_ms[i] for i in indices],
            [self.accepted[i] for i in indices],
            [self.pii[i] for i in indices],
        )

    @cached_property
    def timestamps_us(self) -> Ints:
        """Event times, microseconds since 1970."""
        return np.array([item.timestamp_us for item in self.accepted], np.int64)

    @cached_property
    def series_keys(self) -> list[SeriesKey]:
        """The distinct series, in order of first appearance."""
        return list(dict.fromkeys(self._keys))

    @cached_property
    def series_index(self) -> npt.NDArray[np.int32]:
        """Index of each event's series in `series_keys`."""
        positions = {key: position for position, key in enumerate(self.series_keys)}
        return np.array([positions[key] for key in self._keys], np.int32)

    @cached_property
    def _keys(self) -> list[SeriesKey]:
        project_id = self.project_id
        return [(project_id, item.event.service_name, item.event.model) for item in self.accepted]

    @cached_property
    def latency_ms(self) -> Floats:
        return _floats([item.event.latency_ms for item in self.accepted])

    @cached_property
    def ttft_ms(self) -> Floats:
        return _floats([item.event.ttft_ms for item in self.accepted])

    @cached_property
    def prompt_tokens(self) -> Floats:
        return _floats([item.event.prompt.tokens for item in self.accepted])

    @cached_property
    def completion_tokens(self) -> Floats:
        return _floats([item.event.response.tokens for item in self.accepted])

    @cached_property
    def total_tokens(self) -> Floats:
        """Prompt plus completion; unknown (NaN) where either is."""
        return self.prompt_tokens + self.completion_tokens

    @cached_property
    def cost_usd(self) -> Floats:
        return _floats([item.event.cost_usd for item in self.accepted])

    @cached_property
    def sample_weight(self) -> Floats:
        return _floats([item.event.sample_weight for item in self.accepted])

    @cached_property
    def has_errors(self) -> npt.NDArray[np.bool_]:
        return np.array([bool(item.event.errors) for item in self.accepted], np.bool_)


def _floats(values: list[float | int | None]) -> Floats:
    """Return float64 with NaN for None; tokens stay exact far beyond any model's context."""
    return np.array(values, np.float64)
