"""Text to three views: the one shared model.

The model is imported when first used: the containers need no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from m3rag.model.encoding import CHANNELS, Encoding, MultiVectors, SparseVectors

if TYPE_CHECKING:
    from m3rag.model.model import M3Model
    from m3rag.model.shared import shared_model
    from m3rag.model.tokenizer import Tokenizer

__all__ = [
    "CHANNELS",
    "Encoding",
    "M3Model",
    "MultiVectors",
    "SparseVectors",
    "Tokenizer",
    "shared_model",
]

_HOMES = {"M3Model": "model", "Tokenizer": "tokenizer", "shared_model": "shared"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"m3rag.model.{_HOMES[name]}"), name)
