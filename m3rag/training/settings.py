"""How to train: every choice in one place, checked."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from m3rag.errors import InputError

if TYPE_CHECKING:
    from m3rag.training.losses import LossSettings, Teacher

FREEZABLE = {
    "encoder": "encoder.",
    "embeddings": "encoder.embeddings.word_embeddings.",
    "positions": "encoder.embeddings.position_embeddings.",
}
"""What `freeze` may name, and how the names of its parameters begin. The heads always learn."""

SCHEDULES = ("linear", "cosine", "constant")
DTYPES = ("auto", "float32", "bfloat16")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """The settings of a training run; the defaults fine-tune BGE-M3.

    The run ends at `epochs`, `max_steps` or `minutes`, whatever comes first.

    Attributes:
        epochs: how often each example is used.
        max_steps: optimizer steps at most.
        minutes: training time at most, without measuring and saving. The rate then follows the
            clock, so a second run does not give the same numbers.
        batch: queries a step, on each GPU.
        group_size: passages of a query that has negatives: one positive and at most
            `group_size - 1` of its negatives.
        token_budget: tokens that run through the network at once: what bounds the memory.
        gradient_cache: what becomes of a step with more tokens. True: all its texts stay each
            other's negatives, and each is encoded twice; False: it is split into parts whose
            queries see the passages of their own part only.
        gradient_checkpointing: keep only the layers' inputs, and compute the rest again backward.
        in_batch_negatives: whether the other queries' passages are negatives.
        same_source: whether the examples of a batch come from one source.
        source_power: a source of n examples has a share of n ** source_power: 1 is all of them
            alike, 0 all sources alike.
        max_query_length: tokens of a query; the rest is cut off.
        max_passage_length: tokens of a passage; the rest is cut off.
        learning_rate: at its peak.
        embedding_learning_rate: that of the word embeddings, if they have one of their own.
        warm_up: the share of the run in which the rate rises to its peak.
        schedule: how it then falls to 0: "linear", "cosine", or "constant", which does not fall.
        weight_decay: of the matrices; not of biases and norms.
        clip: the longest gradient; longer ones are scaled down to it.
        temperature: what scores are divided by.
        distil: whether the views also learn from their sum (self-distillation).
        distil_from: the step at which that begins.
        symmetric: whether passages also look for their queries.
        teacher: how `pos_scores` and `neg_scores` are used: see `LossSettings`.
        freeze: what does not learn: "encoder", "embeddings", "positions", any of them.
        dtype: what the network computes in: "float32", "bfloat16", or "auto": bfloat16 where the
            machine multiplies it in hardware. The weights are float32 while they are trained.
        seed: what the order, the choice of texts and dropout follow from.
        save_every: steps between two saves, from which a killed run goes on.
        evaluate_every: steps between two measurements on the held-out set; it is always measured
            at the end.
    """

    epochs: float = field(default=1.0, metadata={"help": "Number of times each example is used."})
    max_steps: int | None = field(
        default=None,
        metadata={"help": "Maximum number of optimizer steps."},
    )
    minutes: float | None = field(
        default=None,
        metadata={"help": "Maximum training time in minutes."},
    )
    batch: int = field(default=64, metadata={"help": "Queries per step on each GPU."})
    group_size: int = field(
        default=8,
        metadata={"help": "Passages per query that has negatives, including the positive."},
    )
    token_budget: int = field(
        default=8192,
        metadata={"help": "Tokens in the network at once; lower values use less memory."},
    )
    gradient_cache: bool = field(
        default=True,
        metadata={
            "help": "If a step exceeds the token budget, encode its texts twice and keep all "
            "negatives, instead of splitting the step."
        },
    )
    gradient_checkpointing: bool = field(
        default=False,
        metadata={"help": "Keep less of each layer in memory; slower. For long texts."},
    )
    in_batch_negatives: bool = field(
        default=True,
        metadata={"help": "Use the passages of other queries in the batch as negatives."},
    )
    same_source: bool = field(default=False, metadata={"help": "Fill each batch from one source."})
    source_power: float = field(
        default=1.0,
        metadata={
            "help": "Sampling of sources: 1 weights all examples equally, 0 weights all sources "
            "equally and repeats small ones."
        },
    )
    max_query_length: int = field(
        default=512,
        metadata={"help": "Maximum query length in tokens."},
    )
    max_passage_length: int = field(
        default=512,
        metadata={"help": "Maximum passage length in tokens."},
    )
    learning_rate: float = field(default=1e-5, metadata={"help": "Peak learning rate."})
    embedding_learning_rate: float | None = field(
        default=None,
        metadata={"help": "Peak learning rate of the word embeddings, if different."},
    )
    warm_up: float = field(
        default=0.1,
        metadata={"help": "Share of the run in which the learning rate rises."},
    )
    schedule: str = field(
        default="linear",
        metadata={
            "help": "How the learning rate falls after the warm-up: linear, cosine or constant."
        },
    )
    weight_decay: float = field(default=0.01, metadata={"help": "Weight decay of matrices."})
    clip: float = field(default=1.0, metadata={"help": "Maximum gradient norm."})
    temperature: float = field(
        default=0.02,
        metadata={"help": "Temperature: the value that scores are divided by."},
    )
    distil: bool = field(
        default=True,
        metadata={"help": "Also train the views on their sum (self-distillation)."},
    )
    distil_from: int = field(
        default=0,
        metadata={"help": "Step at which self-distillation begins."},
    )
    symmetric: bool = field(
        default=False,
        metadata={"help": "Also train passages to find their queries."},
    )
    teacher: Teacher = field(
        default="none",
        metadata={"help": "How pos_scores and neg_scores are used: none, kl_div or m3_kd_loss."},
    )
    freeze: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Part that is not trained: encoder, embeddings or positions. Repeatable."
        },
    )
    dtype: str = field(
        default="auto",
        metadata={"help": "Data type of the computation: auto, float32 or bfloat16."},
    )
    seed: int = field(default=0, metadata={"help": "Random seed for order, sampling and dropout."})
    save_every: int = field(default=500, metadata={"help": "Steps between saves."})
    evaluate_every: int | None = field(
        default=None,
        metadata={"help": "Steps between evaluations; the last step is always evaluated."},
    )

    def __post_init__(self) -> None:
        for name, lowest in _LOWEST.items():
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= lowest):
                raise InputError(f"{name} must be at least {lowest:g}, got {value}.")
        for name in ("epochs", "minutes", "learning_rate", "embedding_learning_rate", "clip"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} must be above 0, got {value}.")
        if self.warm_up > 1:
            raise InputError(f"warm_up is a share of the run, 0 to 1, got {self.warm_up}.")
        _choose("schedule", self.schedule, SCHEDULES)
        _choose("dtype", self.dtype, DTYPES)
        object.__setattr__(self, "freeze", tuple(sorted(set(self.freeze))))
        for part in self.freeze:
            _choose("freeze", part, tuple(FREEZABLE))
        _ = self.loss  # checks temperature and teacher

    @property
    def loss(self) -> LossSettings:
        """What of this concerns the loss."""
        from m3rag.training.losses import LossSettings  # torch: not for the command's help

        return LossSettings(self.temperature, self.distil, self.symmetric, self.teacher)

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON takes them."""
        return {**asdict(self), "freeze": list(self.freeze)}


_LOWEST = {
    "max_steps": 1,
    "batch": 1,
    "group_size": 1,
    "token_budget": 1,
    "source_power": 0,
    "max_query_length": 3,  # <s>, one token, </s>
    "max_passage_length": 3,
    "warm_up": 0,
    "weight_decay": 0,
    "distil_from": 0,
    "seed": 0,
    "save_every": 1,
    "evaluate_every": 1,
}


def _choose(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name}={value!r}: choose {', '.join(map(repr, choices))}.")
