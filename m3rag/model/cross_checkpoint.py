"""Read checkpoint folders in the layout of BAAI/bge-reranker-v2-m3, and make new cross-encoders.

The layout is that of transformers' `XLMRobertaForSequenceClassification` with one label:
`config.json`, `tokenizer.json`, and `model.safetensors` or `pytorch_model.bin` (one file, or shards
with an index) with the encoder under "roberta." and the head `classifier.dense` and
`classifier.out_proj`. `m3rag.model.checkpoint.write` writes it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from m3rag.errors import CheckpointError
from m3rag.model.architecture import (
    MIN_PAIR_LENGTH,
    check_shapes,
    encoder_shapes,
    max_length,
    read_config,
)
from m3rag.model.checkpoint import Checkpoint, check_numbers, read_tokenizer
from m3rag.model.parts import CLASSIFIER, PREFIX, find_cross_encoder
from m3rag.model.storage import KEY, WORDS
from m3rag.model.weights import check_floats, load

_DENSE, _OUT = CLASSIFIER
_CONFIG = {
    "architectures": ["XLMRobertaForSequenceClassification"],
    "id2label": {"0": "LABEL_0"},
    "label2id": {"LABEL_0": 0},
}
"""What tells transformers that there is one label; without it, there are two."""

_NORM = "embeddings.LayerNorm.weight"  # has the dtype of the encoder
_DEVIATION = 0.02  # of the numbers of a new head


def read_cross_encoder(folder: Path) -> Checkpoint:
    """Read and check the folder of a cross-encoder.

    Raises:
        CheckpointError: A part is missing or damaged, has the wrong shape, or contains NaN; the
            model has several labels, or is no cross-encoder.
    """
    config = read_config(folder)
    if KEY in config:
        raise CheckpointError(
            f"{folder} is a packed M3 model: it encodes texts and does not score pairs. Load it "
            "with M3Model.load."
        )
    if max_length(config) < MIN_PAIR_LENGTH:
        raise CheckpointError(
            f"{folder} takes {max_length(config)} tokens; a pair of texts needs {MIN_PAIR_LENGTH}."
        )
    files = find_cross_encoder(folder)
    infos = {name: info for file in files for name, info in file.infos.items()}
    shapes = {f"{PREFIX}{name}": shape for name, shape in encoder_shapes(config).items()}
    width = int(config["hidden_size"])
    shapes |= {f"{_DENSE}.weight": (width, width), f"{_DENSE}.bias": (width,)}
    shapes |= {f"{_OUT}.weight": (1, width), f"{_OUT}.bias": (1,)}
    labels = infos[f"{_OUT}.bias"].shape if f"{_OUT}.bias" in infos else (1,)
    if labels != (1,):
        raise CheckpointError(
            f"{folder} has a head for {labels[0] if labels else 'no'} labels; a cross-encoder has "
            "one. Take a model that was trained to rerank."
        )
    for file in files:
        check_floats(file.path, file.infos)
    check_shapes(shapes, {name: info.shape for name, info in infos.items()})
    tokenizer = read_tokenizer(folder, infos[f"{PREFIX}{WORDS}.weight"].shape[0])
    tensors = {n: t for file in files for n, t in load(file.path, file.infos).items()}
    heads = {
        h: {part: tensors.pop(f"{h}.{part}") for part in ("weight", "bias")} for h in CLASSIFIER
    }
    encoder = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
    checkpoint = Checkpoint(config | _CONFIG, tokenizer, encoder, heads)
    check_numbers(folder, checkpoint)
    return checkpoint


def with_new_head(checkpoint: Checkpoint, seed: int) -> Checkpoint:
    """Return a cross-encoder with the encoder of an M3 model and a new head, ready for training.

    The head is drawn as transformers draws it: matrices from a normal distribution, biases 0; its
    dtype is that of the encoder.

    Args:
        checkpoint: The M3 model, plain or packed.
        seed: The seed of the random numbers.
    """
    width = int(checkpoint.config["hidden_size"])
    rng, dtype = torch.Generator().manual_seed(seed), checkpoint.encoder[_NORM].dtype

    def matrix(rows: int) -> dict[str, Tensor]:
        weight = torch.randn(rows, width, generator=rng) * _DEVIATION
        return {"weight": weight.to(dtype), "bias": torch.zeros(rows, dtype=dtype)}

    heads = {_DENSE: matrix(width), _OUT: matrix(1)}
    config = {key: value for key, value in checkpoint.config.items() if key != "passage_tokens"}
    return replace(checkpoint, config=config | _CONFIG, heads=heads, presets={})
