"""The server: its name, its instructions, its tools and its resources."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import MCPServer

from m3rag import __version__
from m3rag.mcp.access import Caller, anyone
from m3rag.mcp.opening import OpeningBases
from m3rag.mcp.resources import Resources
from m3rag.mcp.results import DATA
from m3rag.mcp.tools import Tools

_INSTRUCTIONS = """\
Documents to search, in many languages{names}. A query finds passages in every language, so do not
translate it. Start with `search`, or with `ask` for filters and a single knowledge base. Read on
with `fetch` or `read_passage`. Cite the URLs of what you use, and say so if nothing answers. {data}
"""


def create_server(
    bases: OpeningBases, *, allow_add: bool = False, caller: Caller = anyone
) -> MCPServer[Any]:
    """Return a server for the Model Context Protocol.

    Run it with `server.run()` on stdio, or use `server.streamable_http_app()`.

    Example:
        >>> with OpeningBases(["handbook=kb"]) as bases:
        ...     create_server(bases).run()

    Args:
        bases: The knowledge bases; call their `start` to open them at once.
        allow_add: Whether callers may add documents.
        caller: Returns what a caller may do, from the headers of a request over HTTP.
    """
    # All callers get the same instructions, and a key may be for some knowledge bases only.
    known = f": {', '.join(bases.names)}" if caller is anyone else ""
    server: MCPServer[Any] = MCPServer(
        "m3rag",
        title="m3rag knowledge bases",
        version=__version__,
        instructions=_INSTRUCTIONS.format(names=known, data=DATA),
        website_url="https://m3rag.github.io/m3rag/",
        log_level="WARNING",
    )
    Tools(bases, caller).register(server, allow_add=allow_add)
    Resources(bases, caller).register(server)
    return server
