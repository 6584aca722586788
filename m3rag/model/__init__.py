"""The shared model, which encodes texts into views, and the cross-encoder, which scores pairs.

Names are imported on first use, so importing the package does not load torch.
"""

from typing import TYPE_CHECKING

from m3rag.encoding import CHANNELS, Encoding, MultiVectors, SparseVectors
from m3rag.extras import lazy

if TYPE_CHECKING:
    from m3rag.model.cross_encoder import M3CrossEncoder
    from m3rag.model.lookup import ModelSpec
    from m3rag.model.model import M3Model
    from m3rag.model.shared import shared_cross_encoder, shared_model
    from m3rag.model.tokenizer import Tokenizer

__all__ = [
    "CHANNELS",
    "Encoding",
    "M3CrossEncoder",
    "M3Model",
    "ModelSpec",
    "MultiVectors",
    "SparseVectors",
    "Tokenizer",
    "shared_cross_encoder",
    "shared_model",
]

__getattr__ = lazy(
    __name__,
    {
        "M3CrossEncoder": "m3rag.model.cross_encoder",
        "M3Model": "m3rag.model.model",
        "ModelSpec": "m3rag.model.lookup",
        "Tokenizer": "m3rag.model.tokenizer",
        "shared_cross_encoder": "m3rag.model.shared",
        "shared_model": "m3rag.model.shared",
    },
)
