"""Runs the application: the signals, and an orderly end."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterable
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from m3rag.serve.access_log import log_to_stderr
from m3rag.serve.backend import Backend
from m3rag.serve.config import ServeConfig

_BACKLOG = 2048  # connections that wait to be accepted
_HEAD_SECONDS = 10.0  # within which the head of a request must arrive
_KEEP_ALIVE = 30  # seconds of an idle connection: clients pool them


class Server(uvicorn.Server):
    """A server that drains on SIGTERM and Ctrl-C.

    It is not ready from then on. After `drain_delay`, it accepts no more connections; what runs
    gets `drain_timeout` to finish; then the application closes the indexes. A second Ctrl-C ends it
    at once.
    """

    def __init__(self, app: FastAPI, config: ServeConfig) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                backlog=_BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE,
                timeout_graceful_shutdown=max(1, round(config.drain_timeout)),
                log_config=None,
                access_log=False,
                server_header=False,
                ws="none",
                lifespan="on",
            )
        )
        self._backend: Backend = app.state.backend
        self._delay = config.drain_delay
        self._head_seconds = min(config.request_timeout, _HEAD_SECONDS)
        self._waiting_since: dict[Any, float] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Do what is due, ten times a second."""
        self._close_slow()
        return await super().on_tick(counter)

    def _close_slow(self) -> None:
        """Close connections on which the head of a request does not arrive in time.

        uvicorn bounds only the time between two requests.
        """
        now = time.monotonic()
        connections: Iterable[Any] = self.server_state.connections
        self._waiting_since = {
            connection: self._waiting_since.get(connection, now)
            for connection in connections
            if (connection.cycle is None or connection.cycle.response_complete)
            and connection.timeout_keep_alive_task is None
        }
        for connection, since in self._waiting_since.items():
            if now - since > self._head_seconds:
                connection.transport.close()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle a signal; unlike uvicorn, do not raise it again at the end."""
        first = self._backend.ready
        self._backend.ready = False
        if first and self._delay and self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.call_later, self._delay, self.drain)
            return
        self.force_exit = self.should_exit and not first
        self.should_exit = True

    def drain(self) -> None:
        """Stop once running requests are finished. Call it from any thread."""
        self._backend.ready = False
        self.should_exit = True


def run(app: FastAPI, config: ServeConfig, bound: socket.socket) -> None:
    """Serve on a bound socket until a signal, then drain."""
    log_to_stderr(log_texts=config.log_texts)
    Server(app, config).run(sockets=[bound])
