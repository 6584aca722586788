"""What the rerankers of both frameworks share: modes, and the cross-encoder of one of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from m3rag.errors import InputError
from m3rag.index.index import M3Index
from m3rag.limits import shown
from m3rag.model.architecture import MIN_PAIR_LENGTH
from m3rag.model.arguments import check_limit
from m3rag.model.lookup import ModelSpec
from m3rag.scoring import Weights, score_texts
from m3rag.scoring.fusion import Floats

if TYPE_CHECKING:
    from m3rag.model import M3CrossEncoder

Mode = Literal["colbert", "all", "cross-encoder"]
CROSS: Mode = "cross-encoder"

_UNUSED = {
    "model": "the cross-encoder is its model",
    "index": "a cross-encoder reads texts and uses no stored vectors",
    "weights": "a cross-encoder gives one score",
}


def check_mode(
    mode: object,
    *,
    cross_encoder: object = None,
    model: object = None,
    index: object = None,
    weights: object = "default",
    max_length: object = None,
) -> None:
    """Check that the arguments of a reranker fit its mode.

    Args:
        mode: The mode. Another value than those of `Mode` is refused elsewhere.
        cross_encoder: The cross-encoder, or None.
        model: The model, or None.
        index: The index, or None.
        weights: The weights, or "default".
        max_length: The most tokens of a pair, or None.

    Raises:
        InputError: They do not.
    """
    if mode != CROSS:
        for name, value in (("cross_encoder", cross_encoder), ("max_length", max_length)):
            if value is not None:
                raise InputError(f'`{name}` needs mode="cross-encoder".')
        if mode == "colbert" and weights != "default":
            raise InputError(
                f'`weights` need mode="all": the mode "colbert" has no weights, got '
                f"{shown(weights)}."
            )
        return
    given = {"model": model, "index": index, "weights": None if weights == "default" else weights}
    for name, value in given.items():
        if value is not None:
            raise InputError(
                f'`{name}` cannot be used with mode="cross-encoder": {_UNUSED[name]}. Leave it out.'
            )
    if max_length is not None:
        check_limit(max_length, least=MIN_PAIR_LENGTH)


def cross_encoder_of(given: object) -> M3CrossEncoder:
    """Return a cross-encoder as it is, or the process's shared one of a name.

    None means BAAI/bge-reranker-v2-m3.

    Raises:
        InputError: It is something else.
        CheckpointError: There is no such model, or it is no cross-encoder.
    """
    from m3rag.model import shared  # imports torch

    return shared.cross_encoder_of(given)  # type: ignore[arg-type]  # it checks what it is given


def described(given: object) -> ModelSpec | None:
    """Return the description of a cross-encoder, without loading it; None for None.

    Raises:
        InputError: It is something else, or was built without a name to load it by.
    """
    if given is None or isinstance(given, ModelSpec):
        return given
    return ModelSpec(str(given)) if isinstance(given, str | Path) else cross_encoder_of(given).spec


def scores_of_texts(
    reranker: Any,
    index: M3Index | None,
    query: str,
    texts: Sequence[str],
    ids: Sequence[str | None],
    weights: Weights,
) -> tuple[Floats, dict[str, Floats]]:
    """Return the scores of texts, `(n,)`, and those of each channel, by the reranker's mode.

    Args:
        reranker: The reranker, whose model and cross-encoder are loaded only if they are used.
        index: The index whose stored vectors score the texts that it contains, or None.
        query: The query.
        texts: The n texts.
        ids: The id of each text in the index; None for one without.
        weights: The weights of the channels, unless a cross-encoder scores.
    """
    if reranker.mode == CROSS:
        scores = reranker.cross_encoder.score(
            query, texts, max_length=reranker.max_length, normalize=True
        )
        return scores, {"cross_encoder": scores}
    if index is None:
        return score_texts(reranker.model, query, texts, weights)
    return index.rescore(query, texts, weights, ids=ids, model=reranker.model)
