"""Training: M3's three views together, with self-distillation, from examples to a BGE-M3 folder.

Names are imported when first used: the settings need no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from m3rag.training.losses import LossSettings, m3_loss
    from m3rag.training.mining import Mined, mine
    from m3rag.training.run import train
    from m3rag.training.settings import TrainingSettings
    from m3rag.training.state import Progress
    from m3rag.training.trainer import Report

_HOMES = {
    "LossSettings": "losses",
    "Mined": "mining",
    "Progress": "state",
    "Report": "trainer",
    "TrainingSettings": "settings",
    "m3_loss": "losses",
    "mine": "mining",
    "train": "run",
}

__all__ = [
    "LossSettings",
    "Mined",
    "Progress",
    "Report",
    "TrainingSettings",
    "m3_loss",
    "mine",
    "train",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"m3rag.training.{_HOMES[name]}"), name)
