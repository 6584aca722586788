"""`m3rag encode`."""

from __future__ import annotations

import json
from collections.abc import Sequence

import typer
from rich.console import Console
from rich.table import Table

from m3rag.errors import InputError
from m3rag.model import M3Model


def run(texts: Sequence[str], *, model: str, colbert: bool, as_json: bool) -> None:
    """Print the views of texts: a JSON object a line, or the term weights as a table."""
    if not texts:
        raise InputError("Nothing to encode: pass texts, or one a line on standard input.")
    with M3Model.load(model) as loaded:
        views = loaded.encode(texts, colbert=colbert)
        console = Console()
        for text, one in zip(texts, views, strict=True):
            weights = sorted(one.sparse[0].items(), key=lambda item: -item[1])
            pieces = loaded.tokens(token for token, _ in weights)
            if as_json:
                values: dict[str, object] = {
                    "text": text,
                    "tokens": int(one.n_tokens[0]),
                    "dense": one.dense[0].tolist(),
                    "sparse": {str(token): weight for token, weight in weights},
                }
                if colbert:
                    values["colbert"] = one.colbert[0].tolist()
                typer.echo(json.dumps(values, ensure_ascii=False))
                continue
            table = Table("token", "piece", "weight", title=text, title_justify="left")
            for (token, weight), piece in zip(weights, pieces, strict=True):
                table.add_row(str(token), piece, f"{weight:.4f}")
            console.print(table)
