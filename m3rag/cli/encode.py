"""`m3rag encode`."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from m3rag.cli.options import DEFAULT_MODEL, Model
from m3rag.errors import InputError


def encode(
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            help="Texts to encode. Without any, texts are read from standard input, one per line."
        ),
    ] = None,
    model: Model = DEFAULT_MODEL,
    colbert: Annotated[
        bool, typer.Option(help="Include the ColBERT vectors in the JSON output.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line.")
    ] = False,
) -> None:
    """Show the dense, sparse and ColBERT views of texts.

    Prints a table of the term weights, or all views as JSON with --json.
    """
    from m3rag.model import M3Model
    from m3rag.service import embed

    texts = texts or [line.rstrip("\n") for line in sys.stdin]
    if not texts:
        raise InputError(
            "There is nothing to encode. Pass texts, or one per line on standard input."
        )
    with M3Model.load(model) as loaded:
        if as_json:
            for values in embed(loaded, texts, colbert=colbert):
                typer.echo(json.dumps(values, ensure_ascii=False))
            return
        console = Console()
        encoding = loaded.encode(texts, dense=False, colbert=False)
        for text, weights in zip(texts, encoding.sparse, strict=True):
            rows = sorted(weights.items(), key=lambda item: -item[1])
            pieces = loaded.tokens(token for token, _ in rows)
            table = Table("token", "piece", "weight", title=text, title_justify="left")
            for (token, weight), piece in zip(rows, pieces, strict=True):
                table.add_row(str(token), piece, f"{weight:.4f}")
            console.print(table)
