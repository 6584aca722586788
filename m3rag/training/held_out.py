"""Retrieval on a held-out set, as the model is now."""

from __future__ import annotations

import torch

from m3rag.evaluation import RetrievalSet, evaluate
from m3rag.model.checkpoint import Checkpoint
from m3rag.model.model import M3Model

VIEWS = ("dense", "sparse", "colbert")
METRICS = ("ndcg@10", "recall@1", "recall@10")


def measure(checkpoint: Checkpoint, data: RetrievalSet, device: torch.device) -> dict[str, float]:
    """Each metric of each view and of their sum, such as `{"dense ndcg@10": 0.53, …}`."""
    with M3Model(checkpoint, device=device, memo_bytes=0) as model:
        report = evaluate(model, data, channels=VIEWS, weights=["default"], metrics=METRICS)
    return {
        f"{channel} {metric}": value
        for channel, values in report.channels.items()
        for metric, value in values.items()
    }
