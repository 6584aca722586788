"""The small JSON files of a model folder: fusion weights, and what other libraries expect."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from m3rag.encoding import CHANNELS
from m3rag.errors import CheckpointError
from m3rag.model.modelfiles import exists, read_json, shortened

PRESETS = "presets.json"

_PRESETS_BYTES = 1 << 20
_MAX_WEIGHT = 1e6  # of a channel in a preset
_MAX_NAME = 200  # characters of a preset's name


def read_presets(folder: Path) -> dict[str, dict[str, float]]:
    """Return the fusion weights of a model by name; none if there is no file of them.

    Raises:
        CheckpointError: The file has something else.
    """
    path = folder / PRESETS
    if not exists(path):
        return {}
    presets = read_json(path, _PRESETS_BYTES, values=10_000)
    names = (*CHANNELS, "bm25")
    sound = isinstance(presets, dict) and all(
        isinstance(weights, dict)
        and weights.keys() <= set(names)
        and all(type(w) in (int, float) and 0 <= w <= _MAX_WEIGHT for w in weights.values())
        and any(weights.values())
        and len(name) <= _MAX_NAME
        and name.isprintable()
        for name, weights in presets.items()
    )
    if not sound:
        raise CheckpointError(
            f"{path} is not a JSON object of weights such as "
            f'{{"default": {{"dense": 1, "colbert": 1}}}}: numbers of at least 0, one of them '
            f"above 0, for {', '.join(names)}. It has {shortened(presets)}."
        )
    return {
        name: {channel: float(weight) for channel, weight in weights.items()}
        for name, weights in presets.items()
    }


def presets_file(presets: Mapping[str, Mapping[str, float]]) -> dict[str, object]:
    """Return the content of `presets.json` by its name; nothing if there are no presets."""
    content = {name: dict(weights) for name, weights in presets.items()}
    return {PRESETS: content} if content else {}


def tokenizer_files(max_length: int) -> dict[str, object]:
    """Return the small JSON files beside `tokenizer.json` by name, for models of that many tokens.

    Args:
        max_length: The most tokens of a text.
    """
    special = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>"}
    special |= {"unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>"}
    return {
        "special_tokens_map.json": special,
        "tokenizer_config.json": special
        | {"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": max_length},
    }


def pooling_files(config: Mapping[str, Any], max_length: int) -> dict[str, object]:
    """Return the files by name from which sentence-transformers computes the dense vector.

    Args:
        config: The content of `config.json`.
        max_length: The most tokens of a text.
    """
    package = "sentence_transformers.models"
    modules = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    pooling = {"word_embedding_dimension": config["hidden_size"]}
    return {
        "sentence_bert_config.json": {"max_seq_length": max_length, "do_lower_case": False},
        "1_Pooling/config.json": pooling | {"pooling_mode_cls_token": True},
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": f"{package}.{name}"}
            for i, (path, name) in enumerate(modules)
        ],
    }


def index_file(shards: Mapping[str, Mapping[str, Tensor]]) -> dict[str, object]:
    """Return the index of the encoder's shards by its name.

    Args:
        shards: The tensors of each file by name.
    """
    places = {name: file for file, tensors in shards.items() for name in tensors}
    size = sum(tensor.nbytes for tensors in shards.values() for tensor in tensors.values())
    content = {"metadata": {"total_size": size}, "weight_map": dict(sorted(places.items()))}
    return {"model.safetensors.index.json": content}
