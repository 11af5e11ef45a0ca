"""One spelling for models, providers and trace ids.

Every function returns the normal form of its argument and leaves a normal form as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

# OpenTelemetry GenAI names, `gen_ai.provider.name`.
_CANONICAL = [
    "openai",
    "anthropic",
    "aws.bedrock",
    "azure.ai.inference",
    "azure.ai.openai",
    "cohere",
    "deepseek",
    "gcp.gemini",
    "gcp.gen_ai",
    "gcp.vertex_ai",
    "groq",
    "ibm.watsonx.ai",
    "mistral_ai",
    "moonshot_ai",
    "perplexity",
    "x_ai",
]

PROVIDERS: Mapping[str, str] = {
    **{name: name for name in _CANONICAL},
    # Older spellings and the prefixes of LiteLLM and OpenRouter for the same providers. "google", "meta-llama" and
    # the like name whoever made a model, not who serves it, and stay part of its name.
    "az.ai.inference": "azure.ai.inference",
    "az.ai.openai": "azure.ai.openai",
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "moonshot": "moonshot_ai",
    "moonshotai": "moonshot_ai",
    "vertex_ai": "gcp.vertex_ai",
    "vertexai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "x-ai": "x_ai",
    "xai": "x_ai",
}
"""Provider names by the spellings that SDKs use."""

TRACE_ID_DIGITS = 32
SPAN_ID_DIGITS = 16
_HEX = frozenset("0123456789abcdef")


def split_model(model: str) -> tuple[str, str | None]:
    """Return the model without prefixes of known providers, and the outermost of these providers."""
    provider: str | None = None
    head, _, rest = model.partition("/")
    while (known := PROVIDERS.get(head.strip().lower())) and rest.strip():
        model, provider = rest.strip(), provider or known
        head, _, rest = model.partition("/")
    return model, provider


def provider_name(provider: str) -> str:
    """Return the OpenTelemetry name of a known provider; others stay as they are."""
    return PROVIDERS.get(provider) or PROVIDERS.get(provider.strip().lower(), provider)


def hex_id(value: str, *, digits: int) -> str | None:
    """Return a hexadecimal id lower-cased and zero-padded to `digits`, any other as it is, an empty one as None."""
    if not value:
        return None
    lowered = value.lower()
    return lowered.zfill(digits) if _HEX.issuperset(lowered) else value
