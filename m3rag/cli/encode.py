"""`m3rag encode`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.table import Table

from m3rag.cli.common import installed
from m3rag.cli.options import DEFAULT_MODEL, Model, check_unicode
from m3rag.cli.output import Terminal, print_json, shown
from m3rag.cli.reporting import reading
from m3rag.errors import InputError
from m3rag.limits import DEFAULT_LIMITS


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

    for text in texts or ():
        check_unicode("A text", text)
    with reading("Standard input"):
        texts = texts or list(_lines())
    if not texts:
        raise InputError(
            "There is nothing to encode. Pass texts, or one per line on standard input."
        )
    with M3Model.load(installed(model)) as loaded:
        if as_json:
            for values in embed(loaded, texts, colbert=colbert):
                print_json(values)
            return
        console = Terminal()
        encoding = loaded.encode(texts, dense=False, colbert=False)
        for text, weights in zip(texts, encoding.sparse, strict=True):
            rows = sorted(weights.items(), key=lambda item: -item[1])
            pieces = loaded.tokens(token for token, _ in rows)
            table = Table("token", "piece", "weight", title=shown(text), title_justify="left")
            for (token, weight), piece in zip(rows, pieces, strict=True):
                table.add_row(str(token), shown(piece), f"{weight:.4f}")
            console.print(table)


def _lines() -> Iterator[str]:
    """Yield the lines of standard input.

    Raises:
        InputError: A line is not UTF-8, or too long.
    """
    if sys.stdin is None:  # closed by the caller
        return
    most = DEFAULT_LIMITS.text_characters
    number = 0
    while line := sys.stdin.buffer.readline(most + 1):
        number += 1
        if len(line) > most:
            raise InputError(
                f"Standard input, line {number:,} has more than {most:,} bytes. Split the text."
            )
        try:
            yield line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InputError(
                f"Standard input, line {number:,} is not UTF-8 (\\x{line[error.start]:02x} at byte "
                f"{error.start + 1:,}). Convert it to UTF-8."
            ) from None
