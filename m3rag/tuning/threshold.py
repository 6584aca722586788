"""The score below which nothing in an index answers a question.

Each labelled question is asked twice: once as it is, and once with the documents that answer it
hidden, so that nothing answers it, by construction. What is answered rightly among all that would
be answered is the precision of a threshold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3rag.errors import InputError
from m3rag.evaluation.evaluator import layout_of
from m3rag.evaluation.matrices import Scores, SliceScores
from m3rag.evaluation.statistics import Values
from m3rag.index.presets import Preset
from m3rag.tuning.tuner import FEWEST, FOLDS, Tuning, folds_of

PRECISION = 0.9  # wanted, unless somebody says otherwise
SHOWN = 5  # passages that are read for an answer: what `m3rag ask` shows
_FEWEST_ANSWERED = 10  # fewer cannot tell nine in ten from all


@dataclass(frozen=True, slots=True)
class Threshold:
    """What `calibrate` found.

    The counts are of questions that the threshold has not seen: five times it is chosen on four
    fifths of the questions and applied to the fifth.

    Attributes:
        min_score: the fused score to answer from; None if none is precise enough.
        wanted: the precision it was chosen for.
        reason: a sentence for people: what the threshold does, or why there is none.
        asked: rankings of questions with an answer; as many are asked with the answers hidden.
        answered: those with an answer that are answered.
        right: those of them that have an answer among the first five passages.
        fooled: those without an answer that are answered.
    """

    min_score: float | None
    wanted: float
    reason: str
    asked: int
    answered: int = 0
    right: int = 0
    fooled: int = 0

    @property
    def precision(self) -> float | None:
        """The share of all answers that are right; None if nothing is answered."""
        answers = self.answered + self.fooled
        return self.right / answers if answers else None

    @property
    def coverage(self) -> float:
        """The share of questions with an answer that are answered."""
        return self.answered / self.asked

    def to_dict(self) -> dict[str, Any]:
        """The threshold as JSON values."""
        return asdict(self) | {"precision": self.precision, "coverage": self.coverage}


@dataclass(frozen=True)
class _Outcomes:
    """What n rankings come to with a preset.

    Attributes:
        best: the highest score, `(n,)`.
        right: whether an answer is among the first passages, `(n,)`.
        hidden: the highest score with the answering documents hidden, `(n,)`; -inf: nothing left.
    """

    best: Values
    right: NDArray[np.bool_]
    hidden: Values

    def __getitem__(self, rows: NDArray[np.bool_]) -> _Outcomes:
        return _Outcomes(self.best[rows], self.right[rows], self.hidden[rows])


def calibrate(scores: Scores, preset: Preset, *, precision: float = PRECISION) -> Threshold:
    """Choose the lowest score to answer from that keeps answers precise.

    A question with an answer counts as answered rightly if one of the first five passages answers
    it. Labels are taken to be complete: a hidden document that another one repeats makes the
    threshold higher than it need be.

    Args:
        scores: of labelled questions, by `index_scores` or `score`.
        preset: how scores are fused.
        precision: the share of right answers that is wanted, above 0 and at most 1.

    Raises:
        InputError: a precision out of range, or weights for a channel that was not scored.
    """
    if not 0 < precision <= 1:
        raise InputError(f"precision={precision:g} must be above 0 and at most 1.")
    _, layout = layout_of(scores.slices)
    asked, questions = len(layout.question), int(layout.question.max()) + 1
    if preset.fusion == "rrf":
        reason = "Ranks do not tell how well a passage answers: no threshold with rrf."
        return Threshold(None, precision, reason, asked)
    if questions < FEWEST:
        reason = f"{questions} distinct questions are too few for a threshold: {FEWEST} are needed."
        return Threshold(None, precision, reason, asked)
    outcomes = _outcomes(scores, preset)
    min_score, reached = _lowest(outcomes, precision)
    if min_score is None:
        reason = (
            f"No threshold: with none are {precision:.0%} of the answers right; the best would be "
            f"{reached:.0%}."
        )
        return Threshold(None, precision, reason, asked)
    answered, right, fooled = _unseen(outcomes, layout.question, precision)
    reason = (
        f"Below {min_score:.3f} nothing answers. On questions it has not seen, such a threshold "
        f"answers {answered} of {asked} that have an answer and {fooled} of {asked} whose "
        f"documents are hidden; {right} of {answered + fooled} answers are right."
    )
    return Threshold(min_score, precision, reason, asked, answered, right, fooled)


def preset_of(tuning: Tuning, threshold: Threshold | None, source: str) -> Preset:
    """Return the weights to save: those of a tuning, with the score to answer from if there is one.

    Args:
        tuning: What `tune` found.
        threshold: What `calibrate` found, if it was asked.
        source: The name of the questions.
    """
    if threshold is None or threshold.min_score is None:
        return tuning.preset
    learned_from = tuning.preset.learned_from or f'"{tuning.best}", with a threshold of {source}'
    return replace(tuning.preset, min_score=threshold.min_score, learned_from=learned_from)


def _outcomes(scores: Scores, preset: Preset) -> _Outcomes:
    """Of all rankings, slice after slice, query after query."""
    rows = [row for one in scores.slices for row in _rows(one, preset)]
    best, right, hidden = zip(*rows, strict=True)
    return _Outcomes(np.array(best), np.array(right, np.bool_), np.array(hidden))


def _rows(scores: SliceScores, preset: Preset) -> Iterator[tuple[float, bool, float]]:
    """For each query: the best score, whether an answer is shown, the best score without."""
    one = scores.slice
    ends = [*one.starts[1:], len(one.passages)]
    unit = np.repeat(np.array(one.units), np.asarray(ends) - one.starts)  # (n passages,)
    document = np.array([p.document_id or p.id for p in one.passages])
    for fused, relevant in zip(scores.fused(preset.weights), one.relevant, strict=True):
        answers = np.isin(unit, list(relevant))
        shown = np.argsort(-fused, kind="stable")[:SHOWN]
        rest = fused[~np.isin(document, document[answers])]
        yield float(fused.max()), bool(answers[shown].any()), float(rest.max(initial=-np.inf))


def _lowest(outcomes: _Outcomes, wanted: float) -> tuple[float | None, float]:
    """The lowest threshold whose answers are precise enough, and the best precision of any."""
    values = np.concatenate([outcomes.best, outcomes.hidden])
    right = np.concatenate([outcomes.right, np.zeros(len(outcomes.hidden), np.bool_)])
    order = np.argsort(-values, kind="stable")
    values, answered = values[order], np.arange(1, len(values) + 1)
    precision = np.cumsum(right[order]) / answered
    below = np.append(values[1:], -np.inf)
    # Equal scores are answered together, and nothing is answered from no passage.
    allowed = (answered >= _FEWEST_ANSWERED) & (values > below) & np.isfinite(values)
    enough = np.flatnonzero(allowed & (precision >= wanted))
    reached = float(precision[allowed].max(initial=0.0))
    if not len(enough):
        return None, reached
    last = enough[-1]
    lower = below[last] if np.isfinite(below[last]) else values[last]
    return float((values[last] + lower) / 2), reached


def _unseen(outcomes: _Outcomes, question: NDArray[np.int64], wanted: float) -> tuple[int, ...]:
    """How many are answered, rightly answered and fooled, by thresholds from other questions."""
    counts = np.zeros(3, np.int64)
    for inside in folds_of(question, FOLDS):
        limit, _ = _lowest(outcomes[~inside], wanted)
        if limit is None:  # nothing is answered
            continue
        held_out = outcomes[inside]
        answers = held_out.best >= limit
        fooled = held_out.hidden >= limit
        counts += [answers.sum(), (answers & held_out.right).sum(), fooled.sum()]
    return tuple(int(count) for count in counts)
