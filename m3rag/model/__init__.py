"""Text to three views: the one shared model.

`M3Model` is imported when first used: the containers and the tokenizer need no torch.
"""

from typing import TYPE_CHECKING

from m3rag.model.encoding import CHANNELS, Encoding, MultiVectors, SparseVectors

if TYPE_CHECKING:
    from m3rag.model.model import M3Model
    from m3rag.model.tokenizer import Tokenizer

__all__ = ["CHANNELS", "Encoding", "M3Model", "MultiVectors", "SparseVectors", "Tokenizer"]


def __getattr__(name: str) -> object:
    if name == "M3Model":
        from m3rag.model.model import M3Model

        return M3Model
    if name == "Tokenizer":
        from m3rag.model.tokenizer import Tokenizer

        return Tokenizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
