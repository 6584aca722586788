"""A picklable description of a model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What another process needs to load an equal model: plain values, no weights.

    `M3Model.spec` describes a model, and `m3rag.model.shared.model_of` returns the process's
    shared model of a description.

    Attributes:
        name: a hub id, a folder, or the name of a bundled model.
        revision: branch, tag or commit on the hub.
        device: "auto", or what `torch.device` takes.
        dtype: "auto", "float32", "bfloat16" or "float16".
        max_length: the most tokens encoded of a text; None for all that the model can take.
        fingerprint: what the loaded model must have; None accepts any weights.
    """

    name: str
    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    max_length: int | None = None
    fingerprint: str | None = None
