"""`m3rag.json`: what a folder is, which model made it, with which settings."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from m3rag.errors import FormatError, ModelMismatchError
from m3rag.index.views import Model
from m3rag.index.whole import write_json
from m3rag.scoring import BM25

FORMAT = 1
NAME = "m3rag.json"
COLBERT_MODES = ("stored", "on-demand", "off")
CONTEXTS = ("passage", "document")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What every later use of an index must agree with.

    Attributes:
        model: the model's name, for `M3Model.load`.
        fingerprint: of its weights and tokenizer; the same fingerprint, the same vectors.
        dim: the width of its dense vectors.
        colbert_dim: the width of its ColBERT vectors.
        vocab_size: the number of its tokens.
        colbert: "stored", "on-demand" or "off".
        context: what a passage has seen when it is encoded: "passage", itself, or "document".
        analyzer: who makes the tokens of BM25, "model" or "custom".
        bm25: its settings.
        created: ISO 8601, UTC.
    """

    model: str
    fingerprint: str
    dim: int
    colbert_dim: int
    vocab_size: int
    colbert: str
    context: str = "passage"
    analyzer: str = "model"
    bm25: BM25 = field(default_factory=BM25)
    created: str = ""

    @classmethod
    def of(cls, model: Model, *, colbert: str, context: str, analyzer: str, bm25: BM25) -> Manifest:
        """The manifest of a new index."""
        return cls(
            model=model.name,
            fingerprint=model.fingerprint,
            dim=model.dim,
            colbert_dim=model.colbert_dim,
            vocab_size=model.vocab_size,
            colbert=colbert,
            context=context,
            analyzer=analyzer,
            bm25=bm25,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def check_model(self, model: Model, place: str) -> None:
        """Refuse a model whose vectors do not belong here.

        Raises:
            ModelMismatchError: naming both models.
        """
        if model.fingerprint != self.fingerprint:
            same = " (the same name, other weights)" if model.name == self.model else ""
            raise ModelMismatchError(
                f"{place} was made by the model {self.model!r} ({self.dim} dimensions, "
                f"fingerprint {self.fingerprint[:12]}), not by {model.name!r} ({model.dim} "
                f"dimensions, fingerprint {model.fingerprint[:12]}){same}. Open it with its own "
                "model, or index the documents again into a new folder."
            )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put it into the folder, whole or not at all."""
    model = {
        "name": manifest.model,
        "fingerprint": manifest.fingerprint,
        "dim": manifest.dim,
        "colbert_dim": manifest.colbert_dim,
        "vocab_size": manifest.vocab_size,
    }
    content = {
        "format": FORMAT,
        "engine": "qdrant-edge",
        "model": model,
        "colbert": manifest.colbert,
        "context": manifest.context,
        "bm25": {"analyzer": manifest.analyzer, **asdict(manifest.bm25)},
        "created": manifest.created,
    }
    write_json(folder / NAME, content)


def read_manifest(folder: Path) -> Manifest:
    """What the folder says it is.

    Raises:
        FormatError: it says nothing, nonsense, or that a newer m3rag made it.
    """
    path = folder / NAME
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise FormatError(f"{folder} is not an m3rag index: it has no {NAME}.") from None
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} cannot be read: {error}. Index into a new folder.") from None
    version = content.get("format") if isinstance(content, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise FormatError(
            f"{folder} has format {version}, this m3rag reads up to {FORMAT}. "
            "Upgrade it: pip install -U m3rag."
        )
    try:
        return _parsed(content)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"{path} is damaged ({type(error).__name__}: {error}). Index into a new folder."
        ) from None


def _parsed(content: dict[str, Any]) -> Manifest:
    if content["format"] != FORMAT or content["engine"] != "qdrant-edge":
        raise ValueError(f"format {content['format']!r} of engine {content['engine']!r}")
    if content["colbert"] not in COLBERT_MODES:
        raise ValueError(f"colbert {content['colbert']!r}")
    context = content.get("context", "passage")  # indexes made before there was a choice
    if context not in CONTEXTS:
        raise ValueError(f"context {context!r}")
    model = content["model"]
    bm25 = dict(content["bm25"])
    return Manifest(
        model=str(model["name"]),
        fingerprint=str(model["fingerprint"]),
        dim=int(model["dim"]),
        colbert_dim=int(model["colbert_dim"]),
        vocab_size=int(model["vocab_size"]),
        colbert=content["colbert"],
        context=context,
        analyzer=str(bm25.pop("analyzer")),
        bm25=BM25(**bm25),
        created=str(content["created"]),
    )
