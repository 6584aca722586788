"""`m3rag serve`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from m3rag.cli.common import (
    installed,
    llm_server,
    loaded_cross_encoder,
    server_keys,
    server_url,
)
from m3rag.cli.options import settings_options
from m3rag.cli.output import Terminal
from m3rag.errors import InputError
from m3rag.serve.config import ServeConfig

if TYPE_CHECKING:
    from m3rag.bases import KnowledgeBases


@settings_options(ServeConfig, {"cors_allow_origin": tuple})
def serve(
    kbs: Annotated[
        list[str] | None,
        typer.Option(
            "--in",
            metavar="[NAME=]KB",
            help="Knowledge base folder, with its name for clients; by default that of the "
            "folder. Repeatable.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help='Model for embeddings: hub id, folder, "small" or "tiny". Defaults to the model '
            "of the first knowledge base."
        ),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            help="Key that clients must send. Better set M3RAG_API_KEY: other users of this "
            "machine can see options."
        ),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            help="TOML file of several keys: each for some knowledge bases, to read or to write."
        ),
    ] = None,
    cross_encoder: Annotated[
        str | None,
        typer.Option(
            help="Cross-encoder of the rerank routes, and of questions that ask for it: hub id "
            "such as BAAI/bge-reranker-v2-m3, or folder."
        ),
    ] = None,
    llm_url: Annotated[
        str | None,
        typer.Option(
            help="Server of a language model that writes answers: an OpenAI-compatible URL such "
            "as http://localhost:11434/v1. Its key is read from M3RAG_LLM_API_KEY."
        ),
    ] = None,
    llm_model: Annotated[str | None, typer.Option(help="Name of the language model.")] = None,
    *,
    settings: ServeConfig,
) -> None:
    """Serve a model and knowledge bases over HTTP, until Ctrl-C or SIGTERM.

    The server answers clients of OpenAI's embeddings, of
    text-embeddings-inference and of Cohere's rerank, searches and answers from
    the knowledge bases, and shows a page at /. /docs describes its routes.
    """
    from m3rag.bases import KnowledgeBases
    from m3rag.serve import create_app
    from m3rag.serve.listening import bind
    from m3rag.serve.running import run

    if not kbs and model is None:
        raise InputError("There is nothing to serve. Pass --in KB, or --model for embeddings only.")
    make_llm = llm_server(llm_url, llm_model)
    config = replace(
        settings,
        keys=server_keys(api_key_file, api_key),
        llm=make_llm() if make_llm else None,
    )
    with bind(config.host, config.port, guarded=bool(config.keys)) as bound:
        bases = KnowledgeBases.open(kbs or [], model=None if model is None else installed(model))
        with bases, loaded_cross_encoder(cross_encoder) as reranker:
            app = create_app(bases, replace(config, cross_encoder=reranker))
            Terminal(stderr=True).say(_greeting(bases, server_url(config.host, bound)))
            run(app, config, bound)


def _greeting(bases: KnowledgeBases, url: str) -> str:
    """Return what is served, and where."""
    what = [*bases.names] or [f"the model {name}" for name in bases.models]
    return f"{', '.join(what)} at {url}, described at /docs. Stop with Ctrl-C."
