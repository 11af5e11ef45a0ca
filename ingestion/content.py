"""Reduce what an event carries of its prompt or response: cut the text, summarise the embedding."""

from __future__ import annotations

import hashlib
import math

from msgspec.structs import force_setattr

from ingestion.cut import cut_text
from ingestion.event import PromptInfo, ResponseInfo
from ingestion.limits import Limits
from ingestion.reject import RefusedError, RejectReason

EmbeddingSummary = tuple[int, float]
"""Dimension and L2 norm."""

Part = PromptInfo | ResponseInfo


def cut_part(part: Part, limits: Limits) -> None:
    """Cut the text in place and record the original's length and digest, unless an earlier cut has recorded them."""
    text = part.text
    if text is None:
        return
    shorter = cut_text(text, max_bytes=limits.max_text_bytes)
    if shorter is text:
        return
    force_setattr(part, "text", shorter)
    if part.original_length is None:
        force_setattr(part, "original_length", len(text))
    if part.original_sha256 is None:
        force_setattr(part, "original_sha256", hashlib.sha256(text.encode()).hexdigest())


def original_length(part: Part) -> int | None:
    """Return the characters of the text before any cut; None where there is no text."""
    if part.original_length is not None or part.text is None:
        return part.original_length
    return len(part.text)


def original_sha256(part: Part) -> bytes | None:
    """Return the digest of the text before the cut; None where it was not cut."""
    return None if part.original_sha256 is None else bytes.fromhex(part.original_sha256)


def reduce_embedding(part: Part, side: str, limits: Limits) -> None:
    """Replace the embedding in place by its dimension and norm, or add these; raise `RefusedError` for an infinite norm."""
    if part.embedding:
        norm = math.hypot(*part.embedding)
        if math.isinf(norm):
            raise RefusedError(RejectReason.NOT_FINITE, f"{side}.embedding", "has no finite norm")
        force_setattr(part, "embedding_dimension", len(part.embedding))
        force_setattr(part, "embedding_norm", norm)
    if not part.embedding or not limits.keep_embeddings:
        force_setattr(part, "embedding", None)


def embedding_summary(part: Part) -> EmbeddingSummary | None:
    """Return dimension and norm, measured here or by the sender; None where either is unknown."""
    if part.embedding_dimension is None or part.embedding_norm is None:
        return None
    return part.embedding_dimension, part.embedding_norm
