"""Learning the fusion of scores from questions with known answers, and testing the gain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3rag.errors import InputError
from m3rag.evaluation.matrices import Scores
from m3rag.evaluation.statistics import Values
from m3rag.index.presets import Preset
from m3rag.tuning.learner import Learner
from m3rag.tuning.objective import Objective

FEWEST = 20  # distinct questions; with fewer, the best preset is kept
FOLDS = 5
_SEED = 20240205


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The nDCG@10 of a preset, and the gain of the learned weights on held-out questions.

    Attributes:
        preset: The weights of the preset.
        ndcg: The nDCG@10 of the preset.
        gain: The mean nDCG@10 of the learned weights minus that of the preset.
        low: The lower end of the gain's 95 % interval.
        high: The upper end.
    """

    preset: Preset
    ndcg: float
    gain: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Tuning:
    """The result of `tune`.

    Attributes:
        preset: The weights to use: the learned ones, or the best preset if they gain nothing.
        tuned: Whether `preset` was learned.
        reason: Why the weights were learned or the preset kept, as a sentence for people.
        best: The name of the best preset.
        learned: The weights learned from all questions, used or not; None with too few questions.
        questions: The number of distinct questions; one question in several languages counts once.
        rankings: The number of rankings, one for a question in each language and slice.
        ndcg: The nDCG@10 of learned weights on held-out questions; None with too few questions.
        held_out: The comparison with each preset, by name; empty with too few questions.
    """

    preset: Preset
    tuned: bool
    reason: str
    best: str
    learned: Preset | None
    questions: int
    rankings: int
    ndcg: float | None
    held_out: Mapping[str, HeldOut]

    def to_dict(self) -> dict[str, Any]:
        """Return the tuning as JSON values."""
        return asdict(self)


def tune(scores: Scores, *, folds: int = FOLDS) -> Tuning:
    """Learn the weights with the highest nDCG@10, and use them if the gain is significant.

    Five times, weights are learned on four fifths of the questions and measured on the remaining
    fifth. They are used if they beat the best preset on these held-out questions, that is, if the
    95 % bootstrap interval of the gain, over questions, is above zero. The weights in use are then
    learned on all questions.

    Args:
        scores: Scores from `score`, or from `index_scores` for an index.
        folds: The number of parts that the questions are divided into.

    Raises:
        InputError: Only one channel was scored, or `folds` is below 2.
    """
    if folds < 2:
        raise InputError(f"`folds` must be at least 2, got {folds}.")
    objective = Objective(scores)
    learner = Learner(objective, scores.presets)
    question = objective.layout.question
    questions, everything = int(question.max()) + 1, np.ones(len(question), np.bool_)
    best = learner.start(everything)
    if questions < max(FEWEST, folds):
        reason = (
            f"{_count(questions)} are too few to learn from: {FEWEST} distinct ones are needed. "
            f'The best preset on them is "{best}".'
        )
        few = learner.starts[best]
        return Tuning(few, False, reason, best, None, questions, len(question), None, {})
    values = _cross_validate(learner, question, folds)
    held_out = {
        name: _held_out(objective, values, preset) for name, preset in learner.starts.items()
    }
    source = f"{_count(questions)} of {scores.set}"
    learned = replace(learner.learn(everything), learned_from=source)
    tuned = held_out[best].low > 0
    return Tuning(
        preset=learned if tuned else learner.starts[best],
        tuned=tuned,
        reason=_reason(best, held_out[best]),
        best=best,
        learned=learned,
        questions=questions,
        rankings=len(question),
        ndcg=float(values @ objective.importance),
        held_out=held_out,
    )


def folds_of(question: NDArray[np.int64], folds: int) -> Iterator[NDArray[np.bool_]]:
    """Yield for each fold which of the n rankings are held out, `(n,)`.

    All rankings of a question are in one fold.
    """
    questions = int(question.max()) + 1
    fold = np.random.default_rng(_SEED).permutation(questions) % folds
    for part in range(folds):
        yield (fold == part)[question]


def _cross_validate(learner: Learner, question: NDArray[np.int64], folds: int) -> Values:
    """Return the nDCG@10 of each ranking `(n,)`, with weights learned on other questions."""
    values = np.zeros(len(question), np.float64)
    for test in folds_of(question, folds):
        values[test] = learner.objective.values(learner.learn(~test))[test]
    return values


def _held_out(objective: Objective, learned: Values, preset: Preset) -> HeldOut:
    """Compare a preset with learned weights, given their values `(n,)` on held-out questions."""
    values = objective.values(preset)
    gain = learned - values
    low, high = objective.layout.interval(gain, range(int(objective.layout.cell.max()) + 1))
    return HeldOut(
        preset=preset,
        ndcg=float(values @ objective.importance),
        gain=float(gain @ objective.importance),
        low=low,
        high=high,
    )


def _reason(best: str, result: HeldOut) -> str:
    """Say whether learned weights beat the best preset, and by how much."""
    gain = f"{result.gain:+.3f} nDCG@10, 95 % interval {result.low:+.3f} to {result.high:+.3f}"
    if result.low > 0:
        return f'On held-out questions, learned weights are better than "{best}": {gain}.'
    return (
        f'On held-out questions, learned weights are not better than "{best}": {gain}. "{best}" is '
        "kept."
    )


def _count(questions: int) -> str:
    return "1 question" if questions == 1 else f"{questions} questions"
