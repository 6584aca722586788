"""`m3rag serve`."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from m3rag.cli.common import installed
from m3rag.cli.options import settings_options
from m3rag.cli.output import Terminal
from m3rag.errors import InputError
from m3rag.serve.config import ServeConfig

if TYPE_CHECKING:
    from m3rag.bases import KnowledgeBases
    from m3rag.model import M3CrossEncoder

API_KEY = "M3RAG_API_KEY"


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
    from m3rag.serve.keys import load_keys
    from m3rag.serve.listening import bind
    from m3rag.serve.running import run

    if not kbs and model is None:
        raise InputError("There is nothing to serve. Pass --in KB, or --model for embeddings only.")
    config = replace(
        settings,
        keys=load_keys(api_key or os.environ.get(API_KEY), api_key_file),
        llm=_llm(llm_url, llm_model),
    )
    with bind(config.host, config.port, guarded=bool(config.keys)) as bound:
        bases = KnowledgeBases.open(kbs or [], model=None if model is None else installed(model))
        with bases, _cross_encoder(cross_encoder) as reranker:
            app = create_app(bases, replace(config, cross_encoder=reranker))
            port = bound.getsockname()[1]
            Terminal(stderr=True).say(_greeting(bases, config.host, port))
            run(app, config, bound)


def _greeting(bases: KnowledgeBases, host: str, port: int) -> str:
    """Return what is served, and where."""
    what = [*bases.names] or [f"the model {name}" for name in bases.models]
    shown = f"[{host}]" if ":" in host else host
    return f"{', '.join(what)} at http://{shown}:{port}, described at /docs. Stop with Ctrl-C."


def _cross_encoder(name: str | None) -> AbstractContextManager[M3CrossEncoder | None]:
    """Return the cross-encoder of the option."""
    if name is None:
        return nullcontext()
    from m3rag.model import M3CrossEncoder

    return M3CrossEncoder.load(name)


def _llm(url: str | None, model: str | None) -> object | None:
    """Return the language model of the options; None without one.

    Raises:
        InputError: One of the options is missing, or not valid.
    """
    from m3rag.answers import OpenAIChat
    from m3rag.answers.openai_chat import API_KEY as LLM_API_KEY

    if bool(url) != bool(model):
        raise InputError("--llm-url and --llm-model must be given together.")
    if url is None or model is None:
        return None
    return OpenAIChat(url, model, os.environ.get(LLM_API_KEY))
