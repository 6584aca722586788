"""The settings of a training run, checked."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from m3rag.training.setting_checks import check_choice, check_settings

if TYPE_CHECKING:
    from m3rag.training.losses import LossSettings, Teacher

FREEZABLE = {
    "encoder": "encoder.",
    "embeddings": "encoder.embeddings.word_embeddings.",
    "positions": "encoder.embeddings.position_embeddings.",
}
"""The parts that `freeze` may name, with the prefix of their parameters. The heads always learn."""

SCHEDULES = ("linear", "cosine", "constant")
DTYPES = ("auto", "float32", "bfloat16")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """The settings of a training run; the defaults fine-tune BGE-M3.

    The run ends at `epochs`, `max_steps` or `minutes`, whichever comes first.

    Attributes:
        cross_encoder: Whether to train a cross-encoder, which scores a query and a passage
            together, in place of the three views. The settings of the views then cannot be changed.
        epochs: The number of times each example is used.
        max_steps: The maximum number of optimizer steps.
        minutes: The maximum training time, without evaluation and saving. The learning rate then
            follows the clock, so a second run does not give the same numbers.
        batch: The number of queries in a step, on each GPU.
        group_size: The number of passages of a query that has negatives: one positive and at most
            `group_size - 1` of its negatives.
        token_budget: The number of tokens that go through the network at once; bounds the memory.
        gradient_cache: How to run a step with more tokens. True: all its texts stay each other's
            negatives, and each is encoded twice. False: the step is split into parts whose queries
            see only the passages of their own part.
        gradient_checkpointing: Whether to keep only the inputs of the layers, and compute the rest
            again in the backward pass.
        in_batch_negatives: Whether the other queries' passages are negatives.
        same_source: Whether the examples of a batch come from one source; as a number, the share of
            the batches for which this holds, as far as sources fill a batch.
        same_language: The share of the batches in which all queries have one language and all
            passages one, the same or another. Lines without languages count as one language.
        source_power: A source of n examples has a share of `n ** source_power`: 1 draws all
            examples equally, 0 all sources equally.
        max_query_length: The maximum number of tokens of a query; the rest is cut off.
        max_passage_length: The maximum number of tokens of a passage; the rest is cut off.
        learning_rate: The peak learning rate.
        embedding_learning_rate: A separate peak learning rate for the word embeddings.
        head_learning_rate: A separate peak learning rate for the sparse and ColBERT heads.
        warm_up: The share of the run in which the learning rate rises to its peak.
        schedule: How the learning rate then falls to 0: "linear", "cosine", or "constant", which
            does not fall.
        weight_decay: The weight decay of matrices; biases and norms have none.
        clip: The maximum norm of the gradient; larger gradients are scaled down to it.
        temperature: The scores are divided by it.
        dense_weight: The weight of the dense view in the loss.
        sparse_weight: The weight of the sparse view.
        colbert_weight: The weight of the ColBERT view.
        ensemble_weight: The weight of the sum of the views.
        distil: Whether the views also learn from their sum (self-distillation).
        distil_weight: The weight of self-distillation; the contrastive loss has 1.
        distil_from: The step at which self-distillation begins.
        symmetric: Whether passages also retrieve their queries.
        teacher: How `pos_scores` and `neg_scores` are used; see `LossSettings`.
        teacher_vectors_weight: The weight of distillation from the vectors of another model, if
            `train` is given such a teacher; the contrastive loss has 1.
        teacher_vectors_temperature: The scores of these vectors are divided by it.
        centre_weight: The weight of a penalty: the squared norm of the batch's mean dense vector.
            It keeps the scores of unrelated texts near 0.
        freeze: The parts that do not learn: any of "encoder", "embeddings" (the word table, also
            one that is packed) and "positions".
        freeze_layers: How many layers do not learn, counted from below. With frozen "embeddings"
            and "positions", this saves time.
        average: The decay of a moving average of the weights, which is evaluated and written in the
            place of the last weights; 0 for none.
        dtype: The dtype of the network's computation: "float32", "bfloat16", or "auto", which is
            bfloat16 where the machine multiplies it in hardware. During training the weights are
            float32.
        seed: The seed of the order, the choice of texts and dropout.
        save_every: The number of steps between two saves, from which a killed run resumes.
        evaluate_every: The number of steps between two evaluations on the held-out set; it is
            always evaluated at the end.
    """

    cross_encoder: bool = field(
        default=False,
        metadata={
            "help": "Train a cross-encoder, which scores pairs, instead of the three views. "
            "It starts from an M3 model, with a new head, or from a cross-encoder.",
            "option": "--cross-encoder",
        },
    )
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
    same_source: bool | float = field(
        default=False, metadata={"help": "Fill each batch from one source."}
    )
    same_language: float = field(
        default=0.0,
        metadata={"help": "Share of batches with one language of queries and one of passages."},
    )
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
    head_learning_rate: float | None = field(
        default=None,
        metadata={"help": "Peak learning rate of the sparse and ColBERT heads, if different."},
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
    dense_weight: float = field(
        default=1.0, metadata={"help": "Weight of the dense view in the loss."}
    )
    sparse_weight: float = field(default=0.1, metadata={"help": "Weight of the sparse view."})
    colbert_weight: float = field(default=1.0, metadata={"help": "Weight of the ColBERT view."})
    ensemble_weight: float = field(
        default=1.0, metadata={"help": "Weight of the sum of the views."}
    )
    distil: bool = field(
        default=True,
        metadata={"help": "Also train the views on their sum (self-distillation)."},
    )
    distil_weight: float = field(
        default=1.0, metadata={"help": "Weight of self-distillation; the contrastive loss has 1."}
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
    teacher_vectors_weight: float = field(
        default=1.0,
        metadata={"help": "Weight of distillation from --teacher-vectors, if given."},
    )
    teacher_vectors_temperature: float = field(
        default=0.02, metadata={"help": "Temperature of the scores of --teacher-vectors."}
    )
    centre_weight: float = field(
        default=0.0,
        metadata={"help": "Weight of a penalty on the mean dense vector of a batch."},
    )
    freeze: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Part that is not trained: encoder, embeddings or positions. Repeatable."
        },
    )
    freeze_layers: int = field(
        default=0, metadata={"help": "Number of layers that are not trained, from below."}
    )
    average: float = field(
        default=0.0,
        metadata={"help": "Decay of a moving average of the weights to write; 0: the last ones."},
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
        check_settings(self)
        check_choice("schedule", self.schedule, SCHEDULES)
        check_choice("dtype", self.dtype, DTYPES)
        object.__setattr__(self, "freeze", tuple(sorted(set(self.freeze))))
        for part in self.freeze:
            check_choice("freeze", part, tuple(FREEZABLE))
        _ = self.loss  # checks temperatures, weights and teacher

    @property
    def loss(self) -> LossSettings:
        """The settings of the loss."""
        from m3rag.training.losses import LossSettings  # imports torch, slow for `--help`

        return LossSettings(
            **{field.name: getattr(self, field.name) for field in fields(LossSettings)}
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return {**asdict(self), "freeze": list(self.freeze)}
