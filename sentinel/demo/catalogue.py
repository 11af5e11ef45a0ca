"""The applications of the demo: who calls which model, how often, with which shape, speed and price."""

from __future__ import annotations

from dataclasses import dataclass

from sentinel.demo import azure
from sentinel.demo.call_model import CallModel
from sentinel.demo.shape import LoadShape, TokenShape


@dataclass(frozen=True, slots=True)
class Source:
    """One service calling one model; `share` is its part of the load.

    `prompt_band` takes a range of prompt length quantiles: a retrieval service sends the long prompts of a chat.
    """

    service: str
    model: str
    provider: str
    share: float
    tokens: TokenShape
    load: LoadShape
    calls: CallModel
    prompt_band: tuple[float, float] = (0.0, 1.0)
    template: str = "assistant"

    @property
    def key(self) -> bytes:
        """The record key: all events of a series go to one partition."""
        return f"{self.service}\0{self.model}".encode()

    @property
    def is_steady(self) -> bool:
        """Whether no minute passes without calls; a fault in an idle minute would hit nothing."""
        return self.load.minute_quantiles[0] > 0


# Prices: list prices per token of mid 2024; speeds: typical of the hosted models.
SOURCES: tuple[Source, ...] = (
    Source(
        service="chat-api",
        model="gpt-4o",
        provider="openai",
        share=0.34,
        tokens=azure.CONVERSATION_TOKENS,
        load=azure.CONVERSATION_LOAD,
        calls=CallModel(240.0, 0.10, 12.0, 2.5e-6, 10e-6),
        # The longest tenth of the trace fills its 4,096 token context: textbook detectors flag all of it, always.
        prompt_band=(0.0, 0.90),
    ),
    Source(
        service="chat-api",
        model="claude-3-5-sonnet",
        provider="anthropic",
        share=0.22,
        tokens=azure.CONVERSATION_TOKENS,
        load=azure.CONVERSATION_LOAD,
        calls=CallModel(420.0, 0.12, 16.0, 3e-6, 15e-6),
        prompt_band=(0.10, 0.90),
    ),
    Source(
        service="code-assist",
        model="codestral",
        provider="mistral_ai",
        share=0.18,
        tokens=azure.CODE_TOKENS,
        load=azure.CODE_LOAD,
        calls=CallModel(300.0, 0.35, 5.0, 0.2e-6, 0.6e-6),
        prompt_band=(0.02, 0.90),
        template="complete-code",
    ),
    Source(
        service="rag-search",
        model="gemini-1.5-pro",
        provider="gcp.gemini",
        share=0.16,
        tokens=azure.CONVERSATION_TOKENS,
        load=azure.CONVERSATION_LOAD,
        calls=CallModel(350.0, 0.20, 14.0, 1.25e-6, 5e-6),
        prompt_band=(0.70, 0.90),
        template="answer-from-documents",
    ),
    Source(
        service="summariser",
        model="llama-3.1-70b",
        provider="groq",
        share=0.10,
        tokens=azure.CONVERSATION_TOKENS,
        load=azure.CONVERSATION_LOAD,
        calls=CallModel(150.0, 0.05, 4.0, 0.59e-6, 0.79e-6),
        prompt_band=(0.69, 0.90),
        template="summarise-ticket",
    ),
)
