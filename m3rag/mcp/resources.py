"""The documents as resources: a template to read one, and a list with pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urldefrag

import anyio.to_thread
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.server.mcpserver.resources import ResourceSecurity
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, ListResourcesResult, PaginatedRequestParams, Resource

from m3rag.bases import NoSuchBaseError
from m3rag.errors import M3Error
from m3rag.index import contents
from m3rag.mcp.access import Caller
from m3rag.mcp.holdings import Holdings
from m3rag.mcp.names import TEMPLATE, uri
from m3rag.mcp.opening import OpeningBases
from m3rag.mcp.reading import list_documents
from m3rag.mcp.results import DATA

PAGE = 100
"""The resources on a page of the list."""


class Resources:
    """The documents of knowledge bases.

    Args:
        bases: The knowledge bases.
        caller: Tells who calls.
    """

    def __init__(self, bases: OpeningBases, caller: Caller) -> None:
        self._bases = bases
        self._caller = caller

    def register(self, server: MCPServer[Any]) -> None:
        """Add the template and the list to a server."""
        server.resource(
            TEMPLATE,
            name="document",
            title="A document",
            description=f"The whole text of a document of a knowledge base. {DATA}",
            # The names of documents lead to no files.
            security=ResourceSecurity(exempt_params={"base", "document"}),
        )(self.read)
        server.middleware.append(self)

    def read(self, base: str, document: str, run: Context[Any, Any]) -> str:
        """Return the text of a document."""
        try:
            index = Holdings(self._bases.get(), self._caller(run.headers)).index(base)
            found = contents.document(index, document)
        except NoSuchBaseError as error:
            raise ResourceNotFoundError(str(error)) from error
        except M3Error as error:
            raise ResourceError(str(error)) from error
        if found is None:
            raise ResourceNotFoundError(f"There is no document {uri(base, document)}.")
        return found.text

    async def __call__(
        self, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        """Handle a request: the SDK lists only resources that are known at the start.

        The place of a passage in a document is no part of the name of the resource. Who may use
        only some passages hears of no changes: the SDK would tell of those of others, too.
        """
        params = dict(ctx.params or {})
        headers = getattr(ctx.request, "headers", None)  # there is no request on stdio
        if ctx.method == "subscriptions/listen" and not self._caller(headers).unlimited:
            ctx = replace(ctx, params={**params, "notifications": {}})
        if ctx.method == "resources/list":
            cursor = PaginatedRequestParams.model_validate(params).cursor
            return await anyio.to_thread.run_sync(self._list, cursor, headers)
        if ctx.method == "resources/read" and isinstance(params.get("uri"), str):
            ctx = replace(ctx, params={**params, "uri": urldefrag(params["uri"]).url})
        return await call_next(ctx)

    def _list(self, cursor: str | None, headers: Mapping[str, str] | None) -> ListResourcesResult:
        try:
            holdings = Holdings(self._bases.get(), self._caller(headers))
            page = list_documents(holdings, None, cursor, PAGE)
        except M3Error as error:
            raise MCPError(INTERNAL_ERROR, str(error)) from error
        return ListResourcesResult(
            resources=[
                Resource(
                    uri=uri(*one.id.split("/", 1)),
                    name=one.id,
                    title=one.title,
                    mime_type="text/plain",
                )
                for one in page.documents
            ],
            next_cursor=page.next,
        )
