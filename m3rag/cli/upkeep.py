"""`m3rag info` and `m3rag delete`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from m3rag.cli.opening import opened_store
from m3rag.errors import InputError
from m3rag.index.filters import parse_filter
from m3rag.index.presets import read_presets


def show(kb: Path, *, as_json: bool) -> None:
    """Print what a knowledge base holds."""
    documents: Counter[str] = Counter()
    with opened_store(kb) as (store, manifest):
        after: str | None = None
        while True:
            page, after = store.scan(None, after, 256)
            documents.update(passage.document_id or "(no document)" for passage in page)
            if after is None:
                break
    presets = read_presets(kb)
    size = sum(_on_disk(file) for file in kb.rglob("*") if file.is_file())
    facts = {
        "kb": str(kb),
        "model": manifest.model,
        "fingerprint": manifest.fingerprint,
        "dim": manifest.dim,
        "colbert": manifest.colbert,
        "created": manifest.created,
        "passages": documents.total(),
        "documents": dict(sorted(documents.items())),
        "bytes": size,
        "presets": {name: asdict(preset) for name, preset in presets.items()},
    }
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    console = Console()
    console.print(
        f"{kb}: {documents.total()} passages of {len(documents)} documents, {size / 1e6:.1f} MB\n"
        f"model {manifest.model} ({manifest.dim} dimensions, fingerprint {manifest.fingerprint}), "
        f"colbert {manifest.colbert}, made {manifest.created}",
        highlight=False,
    )
    for name, preset in presets.items():
        console.print(f"weights {name}: {preset.learned_from}", highlight=False)
    table = Table("document", "passages")
    for document, n in sorted(documents.items()):
        table.add_row(document, str(n))
    console.print(table)


def _on_disk(file: Path) -> int:
    """Bytes a file really takes: the engine's files have holes, which the size counts."""
    status = file.stat()
    return status.st_blocks * 512 if hasattr(status, "st_blocks") else status.st_size


def delete(
    kb: Path, *, documents: Sequence[str], where: Mapping[str, Any] | None, as_json: bool
) -> None:
    """Delete documents by id, or passages by filter."""
    if not documents and where is None:
        raise InputError("Say what to delete: --document ID or --filter key=value.")
    chosen: list[Mapping[str, Any]] = [{"document_id": list(documents)}] if documents else []
    if where is not None:
        chosen.append(where)
    condition = parse_filter({"$and": chosen})
    assert condition is not None  # something is chosen
    with opened_store(kb) as (store, _):
        deleted = store.delete_where(condition)
        left = store.count()
    if as_json:
        typer.echo(json.dumps({"kb": str(kb), "deleted": deleted, "left": left}))
    else:
        Console().print(f"{deleted} passages deleted, {left} left in {kb}.", highlight=False)
