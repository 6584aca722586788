"""The M3 training loss: InfoNCE for each view and for their sum, which also teaches the views.

With scores divided by the temperature, one row per query (arXiv 2402.03216, eq. 2 to 6, and
FlagEmbedding 1.4.2):

    s_ens = s_d + 0.3 s_s + s_c
    L     = (L_d + L_ens + 0.1 L_s + L_c) / 4        L_x = -log softmax(s_x)[positive]
    T     = softmax(s_ens), a constant               D_x = -sum(T * log softmax(s_x))
    L'    = (D_d + 0.1 D_s + D_c) / 3
    loss  = (L + L') / 2, or L without self-distillation

The weights of the views (1, 1, 0.1 and 1) are settings, and so is the weight a of L'. The vectors
of another model add a term of weight b, which compares the distribution of their scores s_v with
those of the dense and ColBERT scores. The loss is the weighted mean of these terms:

    V     = (KL(v, softmax(s_d)) + KL(v, softmax(s_c))) / 2        v = softmax(s_v)
    loss  = (L + a L' + b V) / (1 + a + b)

A passage that is not a negative of a query is excluded by the lowest finite score. Softmax turns it
into 0; with -inf, 0 * -inf would be NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from m3rag.errors import InputError

Teacher = Literal["none", "kl_div", "m3_kd_loss"]

VIEWS = ("dense", "sparse", "colbert")
ENSEMBLE_WEIGHTS = {"dense": 1.0, "sparse": 0.3, "colbert": 1.0}
PARTS = (*VIEWS, "ensemble", "distillation", "teacher_vectors", "centre")
"""The parts of a loss, as far as the settings ask for them."""

_WEIGHTED = (*VIEWS, "ensemble", "distil", "teacher_vectors")
_TAUGHT_BY_VECTORS = ("dense", "colbert")


@dataclass(frozen=True, slots=True)
class LossSettings:
    """The settings of the loss.

    Attributes:
        temperature: The scores are divided by it.
        distil: Whether the views also learn from their sum (self-distillation).
        symmetric: Whether passages also retrieve their queries: half of each InfoNCE is then that
            of the positives, each among all queries.
        teacher: How a teacher's scores of a query's own group are used, in FlagEmbedding's terms.
            "kl_div" adds the cross-entropy with the teacher over the group to InfoNCE.
            "m3_kd_loss" replaces InfoNCE by one InfoNCE for each passage of the group as the
            positive, without the passages before it, weighted by the teacher. "none" ignores the
            scores.
        dense_weight: The weight of the dense view.
        sparse_weight: The weight of the sparse view.
        colbert_weight: The weight of the ColBERT view.
        ensemble_weight: The weight of the sum of the views.
        distil_weight: The weight of self-distillation; InfoNCE has 1.
        teacher_vectors_weight: The weight of distillation from another model's vectors.
        teacher_vectors_temperature: The scores of these vectors are divided by it.
    """

    temperature: float = 0.02
    distil: bool = True
    symmetric: bool = False
    teacher: Teacher = "none"
    dense_weight: float = 1.0
    sparse_weight: float = 0.1
    colbert_weight: float = 1.0
    ensemble_weight: float = 1.0
    distil_weight: float = 1.0
    teacher_vectors_weight: float = 1.0
    teacher_vectors_temperature: float = 0.02

    def __post_init__(self) -> None:
        for name in ("temperature", "teacher_vectors_temperature"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"`{name}` must be above 0, got {value}.")
        for name in (f"{part}_weight" for part in _WEIGHTED):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"`{name}` must be at least 0, got {value}.")
        if not any(self.view_weights.values()):
            raise InputError("All weights of the views are 0, so nothing would be learned.")
        if self.teacher not in get_args(Teacher):
            choices = ", ".join(map(repr, get_args(Teacher)))
            raise InputError(f"`teacher` must be one of {choices}, got {self.teacher!r}.")

    @property
    def view_weights(self) -> dict[str, float]:
        """The weight of each view and of their sum."""
        return {name: getattr(self, f"{name}_weight") for name in (*VIEWS, "ensemble")}


def m3_loss(
    scores: Mapping[str, Tensor],
    target: Tensor,
    settings: LossSettings,
    *,
    excluded: Tensor | None = None,
    teacher_scores: Tensor | None = None,
    vector_scores: Tensor | None = None,
    distil: bool = True,
) -> dict[str, Tensor]:
    """Return the loss of a batch of n queries and m passages, and its parts.

    Args:
        scores: "dense", "sparse" and "colbert", each `(n, m)`, not yet divided by the temperature.
        target: The column of each query's positive, int64 `(n,)`.
        settings: The temperature, self-distillation, direction and teacher.
        excluded: Bool `(n, m)`, True where a passage is not a negative of a query: the same text,
            or another query's group if in-batch negatives are not wanted. A query's own positive
            is never excluded.
        teacher_scores: `(n, g)`; column i scores the passage in column `target + i`. An excluded
            passage has no share. Without these scores, the loss is InfoNCE, as without a teacher.
        vector_scores: `(n, m)`, the scores of another model's vectors, not yet divided by their
            temperature. An excluded passage has no share.
        distil: False turns self-distillation off for this step.

    Returns:
        "loss"; "dense", "sparse", "colbert" and "ensemble", each an L_x; with self-distillation
        "distillation", which is L'; and with the scores of vectors "teacher_vectors", which is V.

    Raises:
        InputError: The shapes do not match.
    """
    _check(scores, target, excluded, teacher_scores, vector_scores)
    if excluded is None:
        excluded = torch.zeros_like(scores["dense"], dtype=torch.bool)
    excluded = excluded.scatter(1, target[:, None], False)
    ensemble = _weighted(scores, ENSEMBLE_WEIGHTS)
    logits = {
        name: _hide(score / settings.temperature, excluded)
        for name, score in {**scores, "ensemble": ensemble}.items()
    }
    if settings.teacher == "none":
        teacher_scores = None
    parts = {
        name: contrastive(x, target, excluded, settings, teacher_scores)
        for name, x in logits.items()
    }
    weights = settings.view_weights
    terms = [(1.0, _weighted(parts, weights) / 4)]
    if settings.distil and distil:
        teacher = logits["ensemble"].detach().softmax(dim=1)
        soft = {view: F.cross_entropy(logits[view], teacher) for view in VIEWS}
        parts["distillation"] = _weighted(soft, {view: weights[view] for view in VIEWS}) / 3
        terms.append((settings.distil_weight, parts["distillation"]))
    if vector_scores is not None and settings.teacher_vectors_weight:
        temperature = settings.teacher_vectors_temperature
        teacher = _hide(vector_scores.to(ensemble.dtype) / temperature, excluded).softmax(dim=1)
        parts["teacher_vectors"] = _divergence(logits, teacher)
        terms.append((settings.teacher_vectors_weight, parts["teacher_vectors"]))
    total = torch.stack([weight * term for weight, term in terms]).sum()
    return {"loss": total / sum(weight for weight, _ in terms), **parts}


def off_centre(queries: Tensor, passages: Tensor) -> Tensor:
    """Return the mean of the squared norms of the queries' and the passages' mean dense vectors.

    It is the mean score of two random queries, and of two random passages: 0 if the vectors point
    in all directions, near 1 if they all lie in a narrow cone.
    """
    return (queries.mean(dim=0).square().sum() + passages.mean(dim=0).square().sum()) / 2


def _divergence(logits: Mapping[str, Tensor], teacher: Tensor) -> Tensor:
    """Return V, the mean divergence of the views' distributions from the teacher's, `(n, m)`."""
    divergences = [
        F.kl_div(logits[view].log_softmax(dim=1), teacher, reduction="batchmean")
        for view in _TAUGHT_BY_VECTORS
    ]
    return torch.stack(divergences).mean()


def contrastive(
    logits: Tensor,
    target: Tensor,
    excluded: Tensor,
    settings: LossSettings,
    teacher_scores: Tensor | None,
) -> Tensor:
    """Return L_x of one view's scores, or of those of a cross-encoder.

    Args:
        logits: The scores `(n, m)`, divided by the temperature; the lowest number where `excluded`.
        target: The column of each query's positive, int64 `(n,)`.
        excluded: Bool `(n, m)`, as for `m3_loss`.
        settings: The direction and how to use a teacher.
        teacher_scores: `(n, g)`, as for `m3_loss`.
    """
    if teacher_scores is None:
        loss = F.cross_entropy(logits, target)
    else:
        group = target[:, None] + torch.arange(teacher_scores.shape[1], device=target.device)
        hidden = excluded.gather(1, group)  # (n, g)
        teacher = _hide(teacher_scores.to(logits.dtype), hidden).softmax(dim=1)
        if settings.teacher == "kl_div":
            loss = F.cross_entropy(logits.gather(1, group), teacher)
            loss = loss + F.cross_entropy(logits, target)
        else:
            loss = _each_in_turn(logits, group, teacher)
    if not settings.symmetric:
        return loss
    return (loss + _backward_contrast(logits, target)) / 2


def _each_in_turn(logits: Tensor, group: Tensor, teacher: Tensor) -> Tensor:
    """Return `m3_kd_loss`: each passage of the group is the positive, without those before it."""
    loss = logits.new_zeros(())
    earlier = torch.zeros_like(logits, dtype=torch.bool)
    for column, weight in zip(group.T, teacher.T, strict=True):  # (n,), (n,)
        each = F.cross_entropy(_hide(logits, earlier), column, reduction="none")  # (n,)
        loss = loss + (weight * each).mean()
        earlier = earlier.scatter(1, column[:, None], True)
    return loss


def _backward_contrast(logits: Tensor, target: Tensor) -> Tensor:
    """Return the InfoNCE of each positive among the queries that do not share it."""
    queries = logits[:, target].T  # (n, n), one row per positive; excluded pairs stay hidden
    same = target[:, None] == target
    own = torch.arange(len(target), device=target.device)
    return F.cross_entropy(_hide(queries, same.fill_diagonal_(False)), own)


def _weighted(parts: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    return torch.stack([weight * parts[name] for name, weight in weights.items()]).sum(dim=0)


def _hide(logits: Tensor, hidden: Tensor) -> Tensor:
    return logits.masked_fill(hidden, torch.finfo(logits.dtype).min)


def _check(
    scores: Mapping[str, Tensor],
    target: Tensor,
    excluded: Tensor | None,
    teacher_scores: Tensor | None,
    vector_scores: Tensor | None,
) -> None:
    shapes = {view: tuple(scores[view].shape) for view in VIEWS}
    n, m = shapes["dense"]
    if len(set(shapes.values())) > 1 or tuple(target.shape) != (n,):
        raise InputError(
            f"The shape of `scores` must be (n, m) and that of `target` (n,), got {shapes} and "
            f"{tuple(target.shape)}."
        )
    for name, tensor in (("excluded", excluded), ("vector_scores", vector_scores)):
        if tensor is not None and tuple(tensor.shape) != (n, m):
            raise InputError(
                f"The shape of `{name}` must be ({n}, {m}), got {tuple(tensor.shape)}."
            )
    if teacher_scores is not None and (teacher_scores.ndim != 2 or len(teacher_scores) != n):
        raise InputError(
            f"The shape of `teacher_scores` must be ({n}, group size), got "
            f"{tuple(teacher_scores.shape)}."
        )
