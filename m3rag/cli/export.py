"""`m3rag export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from m3rag.cli.options import Json, check_unicode
from m3rag.cli.output import Terminal, print_json


def export(
    model: Annotated[str, typer.Argument(help='Model: hub id, folder, "small" or "tiny".')],
    folder: Annotated[Path, typer.Argument(help="Folder of the copy; new or empty.")],
    packed: Annotated[
        bool,
        typer.Option(
            "--packed",
            help="Write word embeddings in 4 bits and layers in 8 bits: a third as large, for "
            "m3rag only. Weights that need more bits change.",
        ),
    ] = False,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the hub.")] = None,
    as_json: Json = False,
) -> None:
    """Write a model to a folder in float16, in the layout of BGE-M3.

    FlagEmbedding, sentence-transformers and m3rag load the folder.
    """
    from m3rag.model.export import export_model

    check_unicode("The model", model)
    folder = export_model(model, folder, revision=revision, packed=packed)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if as_json:
        print_json({"model": model, "folder": str(folder), "packed": packed, "bytes": size})
    else:
        Terminal().say(f"{model} written to {folder}: {size / 1e6:,.1f} MB.")
