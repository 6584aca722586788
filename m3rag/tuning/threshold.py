"""The score below which no passage of an index answers a question.

Each labelled question is asked twice: once unchanged, and once with the documents that answer it
hidden, so that by construction nothing answers it. The precision of a threshold is the share of
right answers among all answers it would give.
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

PRECISION = 0.9  # the target by default
SHOWN = 5  # passages that may contain the answer: as many as `m3rag ask` shows
_FEWEST_ANSWERED = 10  # with fewer answers, a precision of 0.9 cannot be distinguished from 1


@dataclass(frozen=True, slots=True)
class Threshold:
    """The result of `calibrate`.

    The counts are from held-out questions: five times, a threshold is chosen on four fifths of the
    questions and applied to the remaining fifth.

    Attributes:
        min_score: The lowest fused score at which to answer; None if no score is precise enough.
        wanted: The target precision.
        reason: What the threshold does, or why there is none, as a sentence for people.
        asked: The number of rankings of questions with an answer; as many again have the answers
            hidden.
        answered: The number of rankings with an answer that are answered.
        right: The number of those with an answer among the first five passages.
        fooled: The number of rankings with hidden answers that are answered.
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
        """The share of right answers among all answers; None if there are no answers."""
        answers = self.answered + self.fooled
        return self.right / answers if answers else None

    @property
    def coverage(self) -> float:
        """The share of rankings with an answer that are answered."""
        return self.answered / self.asked

    def to_dict(self) -> dict[str, Any]:
        """Return the threshold as JSON values."""
        return asdict(self) | {"precision": self.precision, "coverage": self.coverage}


@dataclass(frozen=True)
class _Outcomes:
    """The outcomes of n rankings with a preset.

    Attributes:
        best: The highest score, `(n,)`.
        right: Whether an answer is among the first passages, `(n,)`.
        hidden: The highest score with the answering documents hidden, `(n,)`; -inf if no passage is
            left.
    """

    best: Values
    right: NDArray[np.bool_]
    hidden: Values

    def __getitem__(self, rows: NDArray[np.bool_]) -> _Outcomes:
        return _Outcomes(self.best[rows], self.right[rows], self.hidden[rows])


def calibrate(scores: Scores, preset: Preset, *, precision: float = PRECISION) -> Threshold:
    """Choose the lowest score at which answers reach a precision.

    An answer is right if one of the first five passages answers the question. Labels are assumed to
    be complete: an unlabelled document that repeats a hidden one makes the threshold higher than
    necessary.

    Args:
        scores: The scores of labelled questions, from `index_scores` or `score`.
        preset: How scores are fused.
        precision: The target share of right answers, above 0 and at most 1.

    Raises:
        InputError: The precision is out of range, or a channel with a weight was not scored.
    """
    if not 0 < precision <= 1:
        raise InputError(f"`precision` must be above 0 and at most 1, got {precision:g}.")
    _, layout = layout_of(scores.slices)
    asked, questions = len(layout.question), int(layout.question.max()) + 1
    if preset.fusion == "rrf":
        reason = "There is no threshold with rrf: ranks do not show how well a passage answers."
        return Threshold(None, precision, reason, asked)
    if questions < FEWEST:
        reason = f"{questions} distinct questions are too few for a threshold: {FEWEST} are needed."
        return Threshold(None, precision, reason, asked)
    outcomes = _outcomes(scores, preset)
    min_score, reached = _lowest(outcomes, precision)
    if min_score is None:
        reason = (
            f"There is no threshold: none reaches a precision of {precision:.0%}; the best reaches "
            f"{reached:.0%}."
        )
        return Threshold(None, precision, reason, asked)
    answered, right, fooled = _cross_validate(outcomes, layout.question, precision)
    reason = (
        f"A question whose best score is below {min_score:.3f} gets no answer. On held-out "
        f"questions, such a threshold answers {answered} of {asked} that have an answer and "
        f"{fooled} of {asked} whose documents are hidden; {right} of {answered + fooled} answers "
        "are right."
    )
    return Threshold(min_score, precision, reason, asked, answered, right, fooled)


def preset_of(tuning: Tuning, threshold: Threshold | None, source: str) -> Preset:
    """Return the weights to save: those of a tuning, with the threshold if there is one.

    Args:
        tuning: The result of `tune`.
        threshold: The result of `calibrate`; None if there is none.
        source: The name of the questions.
    """
    if threshold is None or threshold.min_score is None:
        return tuning.preset
    learned_from = tuning.preset.learned_from or f'"{tuning.best}", with a threshold of {source}'
    return replace(tuning.preset, min_score=threshold.min_score, learned_from=learned_from)


def _outcomes(scores: Scores, preset: Preset) -> _Outcomes:
    """Return the outcomes of all rankings, in the order of the slices and their queries."""
    rows = [row for scored in scores.slices for row in _rows(scored, preset)]
    best, right, hidden = zip(*rows, strict=True)
    return _Outcomes(np.array(best), np.array(right, np.bool_), np.array(hidden))


def _rows(scores: SliceScores, preset: Preset) -> Iterator[tuple[float, bool, float]]:
    """Yield each query's best score, whether an answer is shown, and the best score without."""
    part = scores.slice
    ends = [*part.starts[1:], len(part.passages)]
    unit = np.repeat(np.array(part.units), np.asarray(ends) - part.starts)  # (n passages,)
    document = np.array([p.document_id or p.id for p in part.passages])
    for fused, relevant in zip(scores.fused(preset.weights), part.relevant, strict=True):
        answers = np.isin(unit, list(relevant))
        shown = np.argsort(-fused, kind="stable")[:SHOWN]
        rest = fused[~np.isin(document, document[answers])]
        yield float(fused.max()), bool(answers[shown].any()), float(rest.max(initial=-np.inf))


def _lowest(outcomes: _Outcomes, wanted: float) -> tuple[float | None, float]:
    """Return the lowest threshold with the wanted precision, and the best precision of all."""
    values = np.concatenate([outcomes.best, outcomes.hidden])
    right = np.concatenate([outcomes.right, np.zeros(len(outcomes.hidden), np.bool_)])
    order = np.argsort(-values, kind="stable")
    values, answered = values[order], np.arange(1, len(values) + 1)
    precision = np.cumsum(right[order]) / answered
    below = np.append(values[1:], -np.inf)
    # Equal scores are answered together; without a passage there is no answer.
    allowed = (answered >= _FEWEST_ANSWERED) & (values > below) & np.isfinite(values)
    enough = np.flatnonzero(allowed & (precision >= wanted))
    reached = float(precision[allowed].max(initial=0.0))
    if not len(enough):
        return None, reached
    last = enough[-1]
    lower = below[last] if np.isfinite(below[last]) else values[last]
    return float((values[last] + lower) / 2), reached


def _cross_validate(
    outcomes: _Outcomes, question: NDArray[np.int64], wanted: float
) -> tuple[int, ...]:
    """Count the held-out rankings that are answered, answered right, and fooled."""
    counts = np.zeros(3, np.int64)
    for test in folds_of(question, FOLDS):
        limit, _ = _lowest(outcomes[~test], wanted)
        if limit is None:  # no ranking is answered
            continue
        held_out = outcomes[test]
        answers = held_out.best >= limit
        fooled = held_out.hidden >= limit
        counts += [answers.sum(), (answers & held_out.right).sum(), fooled.sum()]
    return tuple(int(count) for count in counts)
