"""Train the dense, sparse and ColBERT views together, or a cross-encoder, and write its folder.

Names are imported on first use, so that the settings do not need torch.
"""

from typing import TYPE_CHECKING

from m3rag.extras import lazy

if TYPE_CHECKING:
    from m3rag.training.losses import LossSettings, m3_loss
    from m3rag.training.mining import Mined, mine
    from m3rag.training.run import train
    from m3rag.training.settings import TrainingSettings
    from m3rag.training.state import TrainingProgress
    from m3rag.training.state import TrainingProgress as Progress
    from m3rag.training.task import Task, read_mix
    from m3rag.training.teacher import VectorTeacher, write_teacher_vectors
    from m3rag.training.trainer import Report

__all__ = [
    "LossSettings",
    "Mined",
    "Progress",
    "Report",
    "Task",
    "TrainingProgress",
    "TrainingSettings",
    "VectorTeacher",
    "m3_loss",
    "mine",
    "read_mix",
    "train",
    "write_teacher_vectors",
]

_get = lazy(
    __name__,
    {
        "LossSettings": "m3rag.training.losses",
        "Mined": "m3rag.training.mining",
        "Report": "m3rag.training.trainer",
        "TrainingProgress": "m3rag.training.state",
        "TrainingSettings": "m3rag.training.settings",
        "m3_loss": "m3rag.training.losses",
        "mine": "m3rag.training.mining",
        "train": "m3rag.training.run",
        "Task": "m3rag.training.task",
        "read_mix": "m3rag.training.task",
        "VectorTeacher": "m3rag.training.teacher",
        "write_teacher_vectors": "m3rag.training.teacher",
    },
)


def __getattr__(name: str) -> object:
    return _get("TrainingProgress" if name == "Progress" else name)  # `Progress` is the 0.1 name
