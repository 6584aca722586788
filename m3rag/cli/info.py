"""`m3rag info` and `m3rag delete`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Column, Table

from m3rag.cli.common import opened_stored
from m3rag.cli.options import Filter, In, Json, check_unicode, parse_filters
from m3rag.cli.output import Terminal, print_json, shown
from m3rag.errors import InputError


def info(kb: In, as_json: Json = False) -> None:
    """Show what a knowledge base contains and which model built it."""
    from m3rag.index import info as index  # not m3rag.service, which imports all that searches

    with opened_stored(kb) as stored:
        found = index.info(stored)
    if as_json:
        print_json({"kb": str(kb), **found.to_dict()})
        return
    manifest = found.manifest
    console = Terminal()
    console.say(
        f"{kb}: {found.passages} passages of {len(found.documents)} documents, "
        f"{(found.bytes or 0) / 1e6:.1f} MB"
    )
    console.say(
        f"model {manifest.model} ({manifest.dim} dimensions, fingerprint {manifest.fingerprint}), "
        f"colbert {manifest.colbert}, made {manifest.created}"
    )
    for name, preset in found.presets.items():
        console.say(f"weights {name}: {preset.learned_from}")
    table = Table(Column("document", overflow="fold"), "passages")
    for document, n in found.documents.items():
        table.add_row(shown(document), str(n))
    console.print(table)


def delete(
    kb: In,
    document: Annotated[
        list[str] | None,
        typer.Option(help="Id of a document to delete, as listed by info. Repeatable."),
    ] = None,
    filter_: Filter = None,
    as_json: Json = False,
) -> None:
    """Delete documents by id, or passages by filter.

    With both, only passages that match both are deleted.
    """
    from m3rag.index import info as index
    from m3rag.index.unknown_names import unknown_documents, unknown_fields

    where = parse_filters(filter_ or [])
    if not document and where is None:
        raise InputError("Specify what to delete: --document ID or --filter key=value.")
    for name in document or ():
        check_unicode("--document", name)
    with opened_stored(kb) as stored:
        # Before anything is deleted: an unknown field under "$not" would match every passage.
        unknown = unknown_documents(stored.store, document or ())
        if unknown := unknown + unknown_fields(stored.store, where):
            raise InputError(f"{' '.join(unknown)} Nothing was deleted.")
        result = index.delete(stored, documents=document or [], filter=where)
    if as_json:
        print_json({"kb": str(kb), **result.to_dict()})
    else:
        Terminal().say(f"{result.deleted} passages deleted, {result.left} left in {kb}.")
