"""The manifest of an index, `m3rag.json`: its format, its model and its settings."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from m3rag.encoder import Model
from m3rag.errors import FormatError, ModelMismatchError
from m3rag.scoring import BM25
from m3rag.stores.base import MANIFEST as NAME
from m3rag.stores.base import Location

FORMAT = 1

ColbertMode = Literal["stored", "on-demand", "off"]
ContextMode = Literal["passage", "document"]
AnalyzerKind = Literal["model", "custom"]
COLBERT_MODES: tuple[ColbertMode, ...] = get_args(ColbertMode)
CONTEXTS: tuple[ContextMode, ...] = get_args(ContextMode)
ANALYZERS: tuple[AnalyzerKind, ...] = get_args(AnalyzerKind)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The model and settings of an index, fixed when it is created.

    Attributes:
        model: The model's name, for `M3Model.load`.
        fingerprint: The hash of the model's weights and tokenizer; models with the same
            fingerprint return the same vectors.
        dim: The width of the dense vectors.
        colbert_dim: The width of the ColBERT vectors.
        vocab_size: The size of the model's vocabulary.
        colbert: "stored", "on-demand" or "off".
        context: "passage" if each passage is encoded alone, "document" if together with the
            passages of its document.
        analyzer: The source of the tokens for BM25: "model" or "custom".
        bm25: The settings of BM25.
        created: The time of creation, ISO 8601 in UTC.
    """

    model: str
    fingerprint: str
    dim: int
    colbert_dim: int
    vocab_size: int
    colbert: ColbertMode
    context: ContextMode = "passage"
    analyzer: AnalyzerKind = "model"
    bm25: BM25 = field(default_factory=BM25)
    created: str = ""

    @classmethod
    def of(
        cls,
        model: Model,
        *,
        colbert: ColbertMode,
        context: ContextMode,
        analyzer: AnalyzerKind,
        bm25: BM25,
    ) -> Manifest:
        """Return the manifest of a new index."""
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
        """Check that a model is the one that built the index.

        Args:
            model: The model.
            place: The name of the index in the error message.

        Raises:
            ModelMismatchError: It is a different model; the message names both.
        """
        if model.fingerprint != self.fingerprint:
            same = " (the same name, other weights)" if model.name == self.model else ""
            raise ModelMismatchError(
                f"{place} was built by the model {self.model!r} ({self.dim} dimensions, "
                f"fingerprint {self.fingerprint[:12]}), not by {model.name!r} ({model.dim} "
                f"dimensions, fingerprint {model.fingerprint[:12]}){same}. Open it with its own "
                "model, or index the documents again into a new folder."
            )


def write_manifest(location: Location, manifest: Manifest) -> None:
    """Write the manifest atomically."""
    content = {
        "format": FORMAT,
        "engine": location.engine,
        "model": {
            "name": manifest.model,
            "fingerprint": manifest.fingerprint,
            "dim": manifest.dim,
            "colbert_dim": manifest.colbert_dim,
            "vocab_size": manifest.vocab_size,
        },
        "colbert": manifest.colbert,
        "context": manifest.context,
        "bm25": {"analyzer": manifest.analyzer, **asdict(manifest.bm25)},
        "created": manifest.created,
    }
    location.write(NAME, json.dumps(content, ensure_ascii=False, indent=2).encode())


def read_manifest(location: Location) -> Manifest:
    """Read the manifest.

    Raises:
        FormatError: The manifest is missing or damaged, or a newer m3rag wrote it.
    """
    try:
        content = location.read(NAME)
        if content is None:
            raise FormatError(f"{location} is not an m3rag index: it has no {NAME}.")
        values = json.loads(content)
    except (OSError, ValueError) as error:
        raise FormatError(
            f"{location.label(NAME)} cannot be read: {error}. Index the documents into a new "
            "folder."
        ) from None
    version = values.get("format") if isinstance(values, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise FormatError(
            f"{location} has format {version}, but this m3rag reads only up to {FORMAT}. "
            "Upgrade m3rag: pip install -U m3rag."
        )
    try:
        return _parsed(values, location.engine)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"{location.label(NAME)} is damaged ({type(error).__name__}: {error}). Index the "
            "documents into a new folder."
        ) from None


def _parsed(content: dict[str, Any], engine: str) -> Manifest:
    if content["format"] != FORMAT or content["engine"] != engine:
        raise ValueError(f"format {content['format']!r} of engine {content['engine']!r}")
    if content["colbert"] not in COLBERT_MODES:
        raise ValueError(f"colbert {content['colbert']!r}")
    context = content.get("context", "passage")  # missing in indexes built by older versions
    if context not in CONTEXTS:
        raise ValueError(f"context {context!r}")
    model = content["model"]
    bm25 = dict(content["bm25"])
    analyzer = bm25.pop("analyzer")
    if analyzer not in ANALYZERS:
        raise ValueError(f"analyzer {analyzer!r}")
    return Manifest(
        model=str(model["name"]),
        fingerprint=str(model["fingerprint"]),
        dim=int(model["dim"]),
        colbert_dim=int(model["colbert_dim"]),
        vocab_size=int(model["vocab_size"]),
        colbert=content["colbert"],
        context=context,
        analyzer=analyzer,
        bm25=BM25(**bm25),
        created=str(content["created"]),
    )
