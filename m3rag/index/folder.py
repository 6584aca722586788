"""The names of `m3rag.index.sync`, where 0.1 had them."""

from m3rag.extras import lazy

__getattr__ = lazy(
    __name__,
    {
        "Changes": "m3rag.index.sync",
        "documents_in": "m3rag.index.sync",
        "sync": "m3rag.index.sync",
    },
)
