"""`m3rag info` and `m3rag delete`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from m3rag.cli.opening import opened
from m3rag.errors import InputError


def show(kb: Path, *, as_json: bool) -> None:
    """Print what a knowledge base holds."""
    with opened(kb) as (index, _):
        documents = Counter(p.document_id or "(no document)" for p in index.passages())
        manifest = index.manifest
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
    }
    if as_json:
        print(json.dumps(facts, ensure_ascii=False))  # noqa: T201
        return
    console = Console()
    console.print(
        f"{kb}: {documents.total()} passages of {len(documents)} documents, {size / 1e6:.1f} MB\n"
        f"model {manifest.model} ({manifest.dim} dimensions, fingerprint {manifest.fingerprint}), "
        f"colbert {manifest.colbert}, made {manifest.created}",
        highlight=False,
    )
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
    with opened(kb) as (index, _):
        deleted = index.delete(filter=chosen[0] if len(chosen) == 1 else {"$and": chosen})
        left = index.count()
    if as_json:
        print(json.dumps({"kb": str(kb), "deleted": deleted, "left": left}))  # noqa: T201
    else:
        Console().print(f"{deleted} passages deleted, {left} left in {kb}.", highlight=False)
