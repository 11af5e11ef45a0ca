"""The closed sets of names that an anomaly is described with, as the SDKs document them."""

from __future__ import annotations

import enum


class AnomalyType(enum.StrEnum):
    """What is wrong."""

    LATENCY_SPIKE = "latency_spike"
    THROUGHPUT_DEGRADATION = "throughput_degradation"
    ERROR_RATE_INCREASE = "error_rate_increase"
    TOKEN_USAGE_SPIKE = "token_usage_spike"  # noqa: S105  # no password
    COST_ANOMALY = "cost_anomaly"
    INPUT_DRIFT = "input_drift"
    OUTPUT_DRIFT = "output_drift"
    CONCEPT_DRIFT = "concept_drift"
    EMBEDDING_DRIFT = "embedding_drift"
    HALLUCINATION = "hallucination"
    QUALITY_DEGRADATION = "quality_degradation"
    SECURITY_THREAT = "security_threat"


class DetectionMethod(enum.StrEnum):
    """How it was found: the SDKs' names, and those of the layers that have none there."""

    Z_SCORE = "z_score"
    IQR = "iqr"
    MAD = "mad"
    CUSUM = "cusum"
    ISOLATION_FOREST = "isolation_forest"
    LSTM_AUTOENCODER = "lstm_autoencoder"
    ONE_CLASS_SVM = "one_class_svm"
    PSI = "psi"
    KL_DIVERGENCE = "kl_divergence"
    LLM_CHECK = "llm_check"
    RAG = "rag"
    EVENT_RESIDUAL = "event_residual"
    WINDOW = "window"
    MODEL_FREE = "model_free"


class Level(enum.StrEnum):
    """Whether a person should hear of it: a lone event is recorded, what lasts pages."""

    RECORD = "record"
    PAGE = "page"


TYPE_OF_METRIC = {
    "latency_ms": AnomalyType.LATENCY_SPIKE,
    "total_tokens": AnomalyType.TOKEN_USAGE_SPIKE,
    "cost_usd": AnomalyType.COST_ANOMALY,
}


def choices(kind: type[enum.StrEnum]) -> list[tuple[str, str]]:
    """Return the values of a closed set for a model field."""
    return [(member.value, member.value.replace("_", " ").capitalize()) for member in kind]
