"""Knowledge bases for agents over the Model Context Protocol; needs the extra `mcp`."""

from typing import TYPE_CHECKING

from m3rag.extras import lazy, require

if TYPE_CHECKING:
    from m3rag.mcp.opening import OpeningBases
    from m3rag.mcp.server import create_server

require("mcp", "mcp")

__all__ = ["OpeningBases", "create_server"]

__getattr__ = lazy(
    __name__,
    {"OpeningBases": "m3rag.mcp.opening", "create_server": "m3rag.mcp.server"},
)
