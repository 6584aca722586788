"""The documents as resources."""

import pytest
from mcp import MCPError

from m3rag.mcp import resources
from tests.mcp.conftest import connected


async def test_documents_are_listed_by_pages_and_read(bases, monkeypatch):
    monkeypatch.setattr(resources, "PAGE", 2)
    async with connected(bases) as client:
        [template] = (await client.list_resource_templates()).resource_templates
        assert template.uri_template == "m3rag://{base}/{+document}"
        listed, cursor = [], None
        while True:
            page = await client.list_resources(cursor=cursor)
            assert len(page.resources) <= 2
            listed += page.resources
            cursor = page.next_cursor
            if cursor is None:
                break
        assert [one.uri for one in listed] == [
            "m3rag://garden/book.md",
            "m3rag://garden/es/sensor.md",
            "m3rag://garden/pump.md",
            "m3rag://garden/p%C3%A1gina%20%231%3F.md",
            "m3rag://notes/ignore.md",
        ]
        [read] = (await client.read_resource(listed[3].uri)).contents
        assert (read.text, read.mime_type) == ("Relays click at noon.", "text/plain")
        [read] = (await client.read_resource("m3rag://garden/pump.md#char=0,55")).contents
        assert read.text.startswith("# Pump")
        for uri in ("m3rag://garden/none", "m3rag://shed/pump.md", "file:///etc/passwd"):
            with pytest.raises(MCPError, match=r"There is no|Unknown resource"):
                await client.read_resource(uri)
