"""Latency and cost of a call from its tokens: what the Azure traces lack.

latency_ms = overhead + per_prompt * prompt + per_completion * completion, times lognormal(0, 0.15)
cost_usd   = list price of prompt and completion tokens, exact
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sentinel.demo.shape import Floats

NOISE_SIGMA = 0.15


@dataclass(frozen=True, slots=True)
class CallModel:
    """Parameters in milliseconds and US dollars per token."""

    overhead_ms: float
    prompt_ms: float
    completion_ms: float
    prompt_usd: float
    completion_usd: float

    def latency_ms(self, prompt: Floats, completion: Floats) -> Floats:
        """Return the latency without noise."""
        return self.overhead_ms + self.prompt_ms * prompt + self.completion_ms * completion

    def ttft_ms(self, prompt: Floats) -> Floats:
        """Return the time to first token without noise."""
        return self.overhead_ms + self.prompt_ms * prompt + self.completion_ms

    def cost_usd(self, prompt: Floats, completion: Floats) -> Floats:
        return self.prompt_usd * prompt + self.completion_usd * completion


@dataclass(frozen=True, slots=True)
class TraceModel:
    """What a replay of a trace without names, latency and cost assumes."""

    service: str
    model: str
    calls: CallModel


TRACE_MODELS: Mapping[str, TraceModel] = MappingProxyType(
    {
        "conv": TraceModel("chat-api", "llama2-70b", CallModel(120.0, 0.25, 30.0, 0.7e-6, 0.9e-6)),
        "code": TraceModel("code-assist", "codellama-34b", CallModel(80.0, 0.12, 18.0, 0.5e-6, 1.5e-6)),
    }
)
