"""Learning the fusion of scores from questions with known answers, and whether it paid."""

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

FEWEST = 20  # distinct questions; with fewer the best preset stays
FOLDS = 5
_SEED = 20240205


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What a preset is worth, and what the learned weights add on questions they have not seen.

    Attributes:
        preset: its weights.
        ndcg: the preset's nDCG@10.
        gain: the mean of the learned weights' nDCG@10 minus the preset's.
        low: the lower end of the gain's 95 % interval.
        high: the upper end.
    """

    preset: Preset
    ndcg: float
    gain: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Tuning:
    """What `tune` found.

    Attributes:
        preset: what to use: the learned weights, or the best preset where they gain nothing.
        tuned: whether `preset` was learned.
        reason: a sentence for people: why it was learned, or kept.
        best: the name of the best preset.
        learned: what all questions taught, whether it is used or not; None with too few.
        questions: distinct questions; one asked in several languages is one.
        rankings: how many rankings they make, a question in each language and slice.
        ndcg: nDCG@10 of learned weights on questions they have not seen; None with too few.
        held_out: the comparison with each preset; empty with too few questions.
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
        """The tuning as JSON values."""
        return asdict(self)


def tune(scores: Scores, *, folds: int = FOLDS) -> Tuning:
    """Learn the weights that make nDCG@10 highest, if that is more than chance.

    Weights are learned on four fifths of the questions and judged on the fifth they have not seen,
    five times. They are used if they beat the best preset there: if the 95 % bootstrap interval of
    the gain, over questions, is above zero. What is used is then learned on all questions.

    Args:
        scores: of `score`, or of `index_scores` for an index.
        folds: how many parts the questions are cut into.

    Raises:
        InputError: scores of one channel only, or folds below 2.
    """
    if folds < 2:
        raise InputError(f"folds={folds} must be 2 or more.")
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
    unseen = _unseen(learner, question, folds)
    held_out = {
        name: _held_out(objective, unseen, preset) for name, preset in learner.starts.items()
    }
    source = f"{_count(questions)} of {scores.set}"
    learned = replace(learner.learn(everything), learned_from=source)
    found = held_out[best]
    tuned = found.low > 0
    interval = f"{found.gain:+.3f} nDCG@10, 95 % interval {found.low:+.3f} to {found.high:+.3f}"
    reason = (
        f'On questions they have not seen, learned weights gain {interval}, over "{best}".'
        if tuned
        else f'Learned weights are not better than "{best}" on questions they have not seen: '
        f'{interval}. "{best}" stays.'
    )
    return Tuning(
        preset=learned if tuned else learner.starts[best],
        tuned=tuned,
        reason=reason,
        best=best,
        learned=learned,
        questions=questions,
        rankings=len(question),
        ndcg=float(unseen @ objective.importance),
        held_out=held_out,
    )


def folds_of(question: NDArray[np.int64], folds: int) -> Iterator[NDArray[np.bool_]]:
    """Which of the n rankings are held out, `(n,)`, fold by fold; a question stays in one."""
    questions = int(question.max()) + 1
    fold = np.random.default_rng(_SEED).permutation(questions) % folds
    for part in range(folds):
        yield (fold == part)[question]


def _unseen(learner: Learner, question: NDArray[np.int64], folds: int) -> Values:
    """nDCG@10 of each ranking `(n,)` by weights that were learned on other questions."""
    values = np.zeros(len(question), np.float64)
    for inside in folds_of(question, folds):
        values[inside] = learner.objective.values(learner.learn(~inside))[inside]
    return values


def _held_out(objective: Objective, unseen: Values, preset: Preset) -> HeldOut:
    """A preset against the values `(n,)` of learned weights on unseen questions."""
    values = objective.values(preset)
    gain = unseen - values
    low, high = objective.layout.interval(gain, range(int(objective.layout.cell.max()) + 1))
    return HeldOut(
        preset=preset,
        ndcg=float(values @ objective.importance),
        gain=float(gain @ objective.importance),
        low=low,
        high=high,
    )


def _count(questions: int) -> str:
    return "1 question" if questions == 1 else f"{questions} questions"
