"""The server: one model and its knowledge bases behind HTTP.

`m3rag serve` starts it; `create_app` returns the ASGI application for another server. Names are
imported when they are first used: `Keys` needs no extra, `create_app` needs `serve`.
"""

from typing import TYPE_CHECKING

from m3rag.extras import lazy, require

if TYPE_CHECKING:
    from m3rag.serve.app import create_app
    from m3rag.serve.config import ServeConfig
    from m3rag.serve.keys import Key, Keys

__all__ = ["Key", "Keys", "ServeConfig", "create_app"]

_EXTRA = ("fastapi", "uvicorn", "prometheus_client", "python_multipart")
_get = lazy(
    __name__,
    {
        "Key": "m3rag.serve.keys",
        "Keys": "m3rag.serve.keys",
        "ServeConfig": "m3rag.serve.config",
        "create_app": "m3rag.serve.app",
    },
)


def __getattr__(name: str) -> object:
    if name == "create_app":
        for module in _EXTRA:
            require(module, "serve")
    return _get(name)
