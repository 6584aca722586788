"""`m3rag mcp`."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from m3rag.cli.common import server_keys, server_url
from m3rag.cli.output import Terminal
from m3rag.errors import InputError

if TYPE_CHECKING:
    from m3rag.mcp import OpeningBases
    from m3rag.serve.keys import Keys

_HOST, _PORT = "127.0.0.1", 8081


def mcp(
    kbs: Annotated[
        list[str],
        typer.Option(
            "--in",
            metavar="[NAME=]KB",
            help="Knowledge base folder, or the URL of one that `m3rag serve` has open, with its "
            "name for agents; by default that of the folder. Repeatable.",
        ),
    ],
    allow_add: Annotated[
        bool, typer.Option("--allow-add", help="Let agents add documents and replace them.")
    ] = False,
    http: Annotated[
        bool, typer.Option("--http", help="Listen for HTTP instead of using stdin and stdout.")
    ] = False,
    host: Annotated[
        str | None,
        typer.Option(
            help="With --http: address to listen on, 127.0.0.1 by default. Another than loopback "
            "needs a key."
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65_535, help="With --http: port, 8081 by default; 0 for any free one."
        ),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            help="With --http: TOML file of the keys that clients must send, as for serve. One key "
            "that allows everything is read from M3RAG_API_KEY."
        ),
    ] = None,
) -> None:
    """Give agents knowledge bases over the Model Context Protocol.

    A host, such as an editor or a desktop chat, starts this command and talks
    to it on stdin and stdout. Hosts that connect to a URL need --http:
    http://127.0.0.1:8081/mcp.
    """
    from m3rag.mcp import OpeningBases, create_server

    if not http:
        for option, value in (("host", host), ("port", port), ("api-key-file", api_key_file)):
            if value is not None:
                raise InputError(f"--{option} is for HTTP. Add --http, or leave it out.")
        # Ctrl-C ends the process at once: the SDK would wait for the next line on stdin. What was
        # added is on the disk.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        with OpeningBases(kbs) as bases:
            bases.start()
            create_server(bases, allow_add=allow_add).run()
        return
    keys = server_keys(api_key_file)
    with OpeningBases(kbs) as bases:
        keys.check_bases(bases.names)
        _serve(bases, host or _HOST, _PORT if port is None else port, keys, allow_add=allow_add)


def _serve(bases: OpeningBases, host: str, port: int, keys: Keys, *, allow_add: bool) -> None:
    """Serve over HTTP until a signal."""
    from m3rag.mcp.access import anyone
    from m3rag.mcp.http import PATH, KeyCheck, Server, http_app
    from m3rag.mcp.server import create_server
    from m3rag.serve.listening import bind

    with bind(host, port, guarded=bool(keys)) as bound:
        bound.listen()  # whoever reads the URL can connect
        bases.start()
        check = KeyCheck(keys.find) if keys else None
        caller = check.caller if check else anyone
        server = create_server(bases, allow_add=allow_add, caller=caller)
        url = f"{server_url(host, bound)}{PATH}"
        Terminal(stderr=True).say(f"{', '.join(bases.names)} at {url}. Stop with Ctrl-C.")
        Server(http_app(server, host, check)).run(sockets=[bound])
