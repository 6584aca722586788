"""The manifest of an index, `m3rag.json`: its format, its model and its settings."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar, get_args

from m3rag.encoder import Model
from m3rag.errors import FormatError, ModelMismatchError, StorageError
from m3rag.scoring import BM25
from m3rag.stores.base import MANIFEST as NAME
from m3rag.stores.base import Location, Widths
from m3rag.stores.records import pack, parse, verified

Mode = TypeVar("Mode", bound=str)

FORMAT = 3
_OLDEST = 1  # upgraded when it is opened
_NAME_CHARACTERS = 1_000
_WIDTH = 1 << 16

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
        format: The format of the index; an older one is upgraded when the index is opened.
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
    format: int = FORMAT

    @property
    def widths(self) -> Widths:
        """The widths of the vectors that the store keeps."""
        colbert = self.colbert_dim if self.colbert == "stored" else None
        return Widths(dense=self.dim, colbert=colbert, vocabulary=self.vocab_size)

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
            FormatError: The manifest contradicts the model.
        """
        if model.fingerprint != self.fingerprint:
            same = " (the same name, other weights)" if model.name == self.model else ""
            raise ModelMismatchError(
                f"{place} was built by the model {self.model!r} ({self.dim} dimensions, "
                f"fingerprint {self.fingerprint[:12]}), not by {model.name!r} ({model.dim} "
                f"dimensions, fingerprint {model.fingerprint[:12]}){same}. Open it with its own "
                "model, or index the documents again into a new folder."
            )
        widths = (self.dim, self.colbert_dim, self.vocab_size)
        if widths != (model.dim, model.colbert_dim, model.vocab_size):
            raise FormatError(
                f"{place} claims {widths} dense dimensions, ColBERT dimensions and tokens, but its "
                f"model has {(model.dim, model.colbert_dim, model.vocab_size)}: the manifest is "
                f"damaged. Restore it: m3rag repair --in {place}."
            )


def write_manifest(location: Location, manifest: Manifest) -> None:
    """Write the manifest atomically."""
    location.write(NAME, record(manifest, location.engine))


def record(manifest: Manifest, engine: str) -> bytes:
    """Return the content of a manifest, for an index with this storage engine."""
    content = {
        "format": FORMAT,
        "engine": engine,
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
    return pack(content)


def read_manifest(location: Location) -> Manifest:
    """Read the manifest.

    Raises:
        FormatError: The manifest is missing or damaged, or a newer m3rag wrote it.
        StorageError: It cannot be read.
    """
    try:
        content = location.read(NAME)
    except OSError as error:
        raise StorageError(
            f"{location.label(NAME)} cannot be read: {error.strerror or error}."
        ) from error
    if content is None:
        raise FormatError(f"{location} is not an m3rag index: it has no {NAME}.")
    try:
        values = parse(content)
        version = values.get("format")
        if isinstance(version, int) and version > FORMAT:
            raise FormatError(
                f"{location} has format {version}, but this m3rag reads only up to {FORMAT}. "
                "Upgrade m3rag: pip install -U m3rag."
            )
        values, checked = verified(values)
        if not checked and isinstance(version, int) and version > _OLDEST:
            raise ValueError("it has no checksum")
        return _parsed(values, location.engine)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise FormatError(
            f"{location.label(NAME)} is damaged ({type(error).__name__}: {str(error)[:200]}). "
            f"Restore it from its copy: m3rag repair --in {location}."
        ) from None


def _parsed(content: dict[str, Any], engine: str) -> Manifest:
    version = content["format"]
    if type(version) is not int or version < _OLDEST or content["engine"] != engine:
        raise ValueError(f"format {version!r} of engine {content['engine']!r}")
    model = content["model"]
    bm25 = dict(content["bm25"])
    return Manifest(
        model=_text(model["name"], "the model's name"),
        fingerprint=_text(model["fingerprint"], "the fingerprint"),
        dim=_width(model["dim"], "dim", _WIDTH),
        colbert_dim=_width(model["colbert_dim"], "colbert_dim", _WIDTH),
        vocab_size=_width(model["vocab_size"], "vocab_size", 1 << 31),
        colbert=_one_of(content["colbert"], COLBERT_MODES, "colbert"),
        # missing in indexes built by older versions
        context=_one_of(content.get("context", "passage"), CONTEXTS, "context"),
        analyzer=_one_of(bm25.pop("analyzer"), ANALYZERS, "analyzer"),
        bm25=BM25(**bm25),
        created=_text(content["created"], "created"),
        format=version,
    )


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or len(value) > _NAME_CHARACTERS:
        raise ValueError(f"{name} is not a string of at most {_NAME_CHARACTERS} characters")
    return value


def _width(value: object, name: str, most: int) -> int:
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError(f"{name} is {str(value)[:40]}, not an integer from 1 to {most}")
    return value


def _one_of(value: object, modes: tuple[Mode, ...], name: str) -> Mode:
    for mode in modes:
        if value == mode:
            return mode
    raise ValueError(f"{name} is {str(value)[:40]!r}, not one of {', '.join(map(str, modes))}")
