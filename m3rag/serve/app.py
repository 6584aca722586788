"""The ASGI application: its routes, and what every request passes on the way to them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from pkgutil import iter_modules

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from m3rag import __version__
from m3rag.bases import KnowledgeBases
from m3rag.serve import routes
from m3rag.serve.admission import Admission
from m3rag.serve.backend import Backend
from m3rag.serve.config import ServeConfig
from m3rag.serve.errors import add_handlers
from m3rag.serve.guard import Guard
from m3rag.serve.metrics import Metrics
from m3rag.serve.observing import Observer
from m3rag.serve.tracing import Tracing

_ABOUT = (
    "One BGE-M3 model, three views of a text, and knowledge bases that are searched by all of "
    "them. Send a key as `Authorization: Bearer KEY`, if the server needs one. Errors have "
    "OpenAI's form, on the routes of text-embeddings-inference its own."
)

_FIRST = ("openai", "tei", "encode", "search")
"""The routes that are called most: a request is compared with one after the other."""


def create_app(bases: KnowledgeBases, config: ServeConfig | None = None) -> FastAPI:
    """Return the application that serves open knowledge bases and their models.

    Args:
        bases: The knowledge bases. The application closes them when it stops.
        config: The settings.

    Raises:
        InputError: A key is for a knowledge base that is not there.
    """
    config = config or ServeConfig()
    config.keys.check_bases(bases.names)
    backend = Backend(bases, config)
    endpoint, service = config.otlp_endpoint, config.otlp_service_name
    tracing = None if endpoint is None else Tracing(endpoint, service)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        backend.ready = True
        try:
            yield
        finally:
            backend.ready = False
            await run_in_threadpool(backend.jobs.close, config.drain_timeout)
            bases.close()
            if tracing is not None:
                tracing.close()

    metrics = Metrics(backend)
    app = FastAPI(
        title="m3rag",
        description=_ABOUT,
        version=__version__,
        lifespan=lifespan,
        middleware=_layers(backend, metrics, tracing),
        docs_url=None,  # routes/reference.py: FastAPI's page loads scripts from elsewhere
        redoc_url=None,
    )
    app.state.backend = backend
    app.state.metrics = metrics
    add_handlers(app)
    names = [module.name for module in iter_modules(routes.__path__)]
    for name in sorted(names, key=lambda name: name not in _FIRST):
        app.include_router(import_module(f"{routes.__name__}.{name}").router)
    return app


def _layers(backend: Backend, metrics: Metrics, tracing: Tracing | None) -> list[Middleware]:
    """Return what a request passes on its way to the routes, from the outside."""
    origins = backend.config.cors_allow_origin
    cors = Middleware(
        CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"]
    )
    return [
        Middleware(Observer, metrics=metrics, tracing=tracing),
        *([cors] if origins else []),
        Middleware(Guard, config=backend.config),
        Middleware(Admission, backend=backend),
    ]
