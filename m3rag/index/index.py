"""`M3Index`: store passages and search them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from m3rag.encoder import Model
from m3rag.index.diversity import diversify
from m3rag.index.expand import expand
from m3rag.index.hit import Hit
from m3rag.index.manifest import AnalyzerKind, ColbertMode, ContextMode
from m3rag.index.opening import IndexSettings, StoredIndex, open_index
from m3rag.index.presets import Preset, check_name, read_presets, write_presets
from m3rag.index.reference import IndexReference, model_for, note_open, open_already, reference
from m3rag.index.rescoring import rescore
from m3rag.index.searching import SearchableCollection
from m3rag.limits import DEFAULT_LIMITS, Limits
from m3rag.scoring import BM25, Analyzer, Weights
from m3rag.scoring.fusion import Floats
from m3rag.stores.base import Location
from m3rag.stores.location import locate


class M3Index(SearchableCollection):
    """An index of passages, searched by dense, sparse, ColBERT and BM25 scores together.

    Inherits all methods of `m3rag.index.searching.SearchableCollection` (`search` and its kin),
    `DocumentCollection` (`upsert_documents`, `update_metadata`, `documents`) and `Collection`
    (`add`, `delete`, `get`, `count`, `passages`, `optimize`, `close`).

    Any number of threads may share an index. The `a…` methods do not block the event loop.

    An index in a folder is pickled by reference: the folder, the model's name and the settings. In
    the same process, the pickle is the open index itself; in another, it is opened again, once this
    process has closed it. An index of a server is pickled as its address, without the key. A copy
    of an index is the index itself.

    Example:
        >>> index = M3Index.open("kb", model=M3Model.load("small"))
        >>> index.add(["Ferns like shade.", "Los helechos prefieren la sombra."])
        >>> index.search("Where do I put my fern?", k=1)[0].passage.text
        'Ferns like shade.'

    Attributes:
        path: The folder; None if the index is not in a folder.
    """

    def __init__(
        self,
        stored: StoredIndex,
        model: Model,
        *,
        analyzer: Analyzer | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        super().__init__(stored, model, analyzer=analyzer, limits=limits)
        self.path = stored.location.path

    def __reduce__(self) -> tuple[Callable[[IndexReference], M3Index], tuple[IndexReference]]:
        return reopened, (reference(self),)

    def __copy__(self) -> M3Index:
        return self  # an index stands for its folder, as a lock or a connection does

    def __deepcopy__(self, memo: object) -> M3Index:
        return self

    @classmethod
    def open(
        cls,
        path: str | Path | Location | None = None,
        *,
        model: Model | None = None,
        colbert: ColbertMode | None = None,
        context: ContextMode | None = None,
        create: bool = True,
        analyzer: Analyzer | None = None,
        bm25: BM25 | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> M3Index:
        """Open an index, or create one.

        Args:
            path: A folder; the address of an index of an `m3rag serve`, such as
                "http://127.0.0.1:8080/kb"; a `Location` of your own; or None for an index in
                memory.
            model: The model that built the index, or the model for a new one. Without it, an
                existing index loads its own model by name, or uses that of its server.
            colbert: "stored" (the default for a new index; about 1 KB per token with 1024
                dimensions), "on-demand" (encodes the candidates at query time) or "off".
            context: "passage" (the default for a new index) encodes each passage alone.
                "document" encodes the passages of a document together, up to the model's
                `max_length` tokens per pass, so that each attends to the others. Add them together
                and in order, as `m3rag index` does: `add` encodes at most one `batch` together.
                Explanations still encode a passage alone.
            create: Whether to create an index where there is none.
            analyzer: Turns texts into token ids for BM25, instead of the model's tokenizer. Pass
                the same one each time you open the index.
            bm25: The settings of BM25, for a new index.
            limits: The largest passages, queries and filters that the index accepts.

        Raises:
            FormatError: The folder is not an index, is damaged, or has a newer format.
            ModelMismatchError: Another model built the index.
            InUseError: Another process has the index open.
            StorageError: The server cannot be reached.
            InputError: The index was built with other settings, a new index has no model, or the
                server refuses the key.
        """
        kind: AnalyzerKind = "model" if analyzer is None else "custom"
        settings = IndexSettings(colbert, context, kind, bm25)
        stored, model = open_index(locate(path), model, settings, create=create)
        index = cls(stored, model, analyzer=analyzer, limits=limits)
        note_open(index, stored.location)
        return index

    def save_preset(self, name: str, preset: Preset) -> None:
        """Save weights for `search(weights=name)`, replacing any preset of the same name.

        Raises:
            InputError: The name is empty, contains "/", or is reserved.
        """
        self._check_open()
        # Read them again: another client of a shared index may have saved some meanwhile.
        presets = {**read_presets(self.stored.location), check_name(name): preset}
        write_presets(self.stored.location, presets)
        self._presets = presets

    def rescore(
        self,
        query: str,
        texts: Sequence[str],
        weights: Weights = "default",
        *,
        ids: Sequence[str | None] = (),
        model: Model | None = None,
    ) -> tuple[Floats, dict[str, Floats]]:
        """Score texts that were found elsewhere, on every channel that has a weight.

        Uses the stored vectors of a text if the index has its id with exactly this text, and
        encodes the other texts once.

        Args:
            query: The query, encoded without a prefix.
            texts: The n texts.
            weights: As for `search`, without bm25.
            ids: The id of each text, None for a text without one; leave it out if none has one.
            model: Encodes in place of the index's own model; must have the same fingerprint.

        Returns:
            The weighted sum divided by the sum of the weights, `(n,)`, and the scores of each
            channel, `(n,)`.

        Raises:
            InputError: The query is empty, no channel has a weight, or bm25 has one.
            ModelMismatchError: The model did not build the index.
        """
        model = self.model if model is None else model
        self.manifest.check_model(model, "The index")

        def search(wanted: list[str], counted: Mapping[str, float]) -> list[Hit]:
            if "colbert" in counted and self.manifest.colbert != "stored":
                return []
            n = len(wanted)
            return self.search(query, n, weights=counted, filter={"$id": wanted}, candidates=n)

        return rescore(query, texts, weights, ids, model=model, search=search)

    def diversify(self, hits: Sequence[Hit], k: int, *, relevance: float = 0.5) -> list[Hit]:
        """Return up to `k` of the hits, chosen to be relevant and different from each other.

        Maximal marginal relevance: each next hit has the highest
        `relevance * score - (1 - relevance) * cosine`, where the cosine is that with the most
        similar hit chosen before. The scores of a search by dense vectors are used as they are;
        other fused scores are scaled to 0 to 1 among the hits. The hits keep all their scores.

        Example:
            >>> index.diversify(index.search("Where do I put my fern?", 20), 4)

        Args:
            hits: Hits of a search, more than `k`.
            k: The most hits to return.
            relevance: How much the score counts: 1 keeps the order of the hits, 0 ignores it after
                the first hit.

        Raises:
            InputError: `k` or `relevance` is out of range.
        """
        return diversify(hits, self.dense_vectors([hit.passage.id for hit in hits]), k, relevance)

    def expand(self, hits: Sequence[Hit], neighbours: int = 1) -> list[Hit]:
        """Widen the passages of hits to the sections around them.

        A section is a passage with `neighbours` passages of its document before and after it, up
        to the first gap. `start` and `end` count characters of the document. White space between
        passages keeps its length, but not always its characters. Hits whose sections share a
        character become one, with the scores and the id of the best. A passage without
        `document_id`, `start` or `end` stays as it is.

        Raises:
            InputError: `neighbours` is negative or not an integer.
        """
        self._check_open()
        return expand(hits, neighbours, lambda name: [*self.passages({"$document_id": name})])


def reopened(found: IndexReference) -> M3Index:
    """Return the index of a reference: the open one of this process, or the folder opened again.

    Raises:
        FormatError: The folder is not an index.
        ModelMismatchError: The model's name refers to other weights in this process.
        InUseError: Another process has the index open.
    """
    index = open_already(found)
    if isinstance(index, M3Index):
        return index
    return M3Index.open(
        found.place,
        model=model_for(found),
        create=False,
        analyzer=found.analyzer,
        limits=found.limits,
    )
