"""Check `config.json`, and say which tensors it describes.

The sizes are checked before anything is built with them, and compared with the tensors in the
files, so no memory or time is spent on numbers that only the config contains.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m3rag.errors import CheckpointError
from m3rag.limits import is_number
from m3rag.model.modelfiles import exists, read_json, shortened
from m3rag.model.storage import KEY, PACKED_TYPE, PLAIN_TYPE, check_storage, stored_positions

MIN_LENGTH = 3
"""The fewest tokens that a text can have: `<s>`, one token, `</s>`."""

MIN_PAIR_LENGTH = 17
"""The fewest tokens of a pair that leave one for the passage, if the query has three quarters."""

_PASSAGE_TOKENS = "passage_tokens"  # m3rag's own key, which other libraries ignore
_SHORTEST, _USUAL = 16, 512  # lengths of a passage: the least that can be set, and the default

_CONFIG_BYTES = 1 << 20
_REQUIRED = ("hidden_size", "max_position_embeddings", "pad_token_id")

# The lowest and highest value of each size. They leave room for models thirty times as large.
_SIZES = {
    "hidden_size": (1, 1 << 16),
    "max_position_embeddings": (MIN_LENGTH + 1, 1 << 24),
    "pad_token_id": (0, 1 << 24),
    "vocab_size": (4, 1 << 24),
    "num_hidden_layers": (1, 1024),
    "num_attention_heads": (1, 4096),
    "intermediate_size": (1, 1 << 20),
    "type_vocab_size": (1, 1024),
}
_DEFAULTS = {
    "vocab_size": 30522,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
}
"""The values of transformers' XLMRobertaConfig for keys that a config leaves out."""

_ACTIVATIONS = (
    *("gelu", "gelu_fast", "gelu_new", "gelu_python", "gelu_pytorch_tanh", "gelu_accurate"),
    *("quick_gelu", "relu", "relu6", "leaky_relu", "silu", "swish", "mish", "tanh", "sigmoid"),
    *("hardswish", "linear"),
)
# What would make the network another one, or change what its tensors mean.
_UNSUPPORTED: Mapping[str, tuple[object, ...]] = {
    "position_embedding_type": (None, "absolute"),
    "is_decoder": (None, False),
    "add_cross_attention": (None, False),
    "quantization_config": (None,),
    "pruned_heads": (None, {}),
}


def read_config(folder: Path) -> dict[str, Any]:
    """Return the checked content of a folder's `config.json`.

    Raises:
        CheckpointError: It is missing, not JSON, of another architecture, or has a value that no
            XLM-RoBERTa encoder can have.
    """
    path = folder / "config.json"
    if not exists(path):
        raise CheckpointError(
            f"{folder} has no config.json: it is not a model folder. A BGE-M3 folder contains "
            "config.json, tokenizer.json, model.safetensors or pytorch_model.bin, "
            "colbert_linear.pt and sparse_linear.pt."
        )
    content = read_json(path, _CONFIG_BYTES)
    config: dict[str, Any] = content if isinstance(content, dict) else {}
    found = config.get("model_type") if config else type(content).__name__
    expected = PACKED_TYPE if KEY in config else PLAIN_TYPE
    if found != expected:
        kind = "BGE-M3" if expected == PLAIN_TYPE else f'a model with the key "{KEY}"'
        raise CheckpointError(f"{path} describes {shortened(found)}; {kind} is {expected!r}.")
    for key in _REQUIRED:
        if config.get(key) is None:
            raise CheckpointError(
                f"{path} has no {key}: the file is incomplete. Download or export the checkpoint "
                "again."
            )
    _check_values(path, _DEFAULTS | config)
    check_storage(path, _DEFAULTS | config)
    return config


def network_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that define the network, without the other content of `config.json`."""
    keys = (*_SIZES, *_DEFAULTS)
    return {key: config.get(key, _DEFAULTS.get(key)) for key in keys}


def max_length(config: Mapping[str, Any]) -> int:
    """Return the most tokens of a text; positions start after the padding index (8194 -> 8192)."""
    return int(config["max_position_embeddings"]) - int(config["pad_token_id"]) - 1


def passage_tokens(config: Mapping[str, Any]) -> int:
    """Return the length of passages that suits a model: its "passage_tokens", else 512."""
    return int(config.get(_PASSAGE_TOKENS) or min(_USUAL, max_length(config)))


def encoder_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of the encoder by name, without the pooler.

    A table of positions that repeats itself has its stored rows only.
    """
    sizes, positions = network_config(config), stored_positions(config)
    d, wide = sizes["hidden_size"], sizes["intermediate_size"]
    tables = {
        "word": sizes["vocab_size"],
        "position": positions.stored if positions else sizes["max_position_embeddings"],
        "token_type": sizes["type_vocab_size"],
    }
    shapes: dict[str, tuple[int, ...]] = {
        f"embeddings.{name}_embeddings.weight": (rows, d) for name, rows in tables.items()
    }
    linears = {f"attention.self.{name}": (d, d) for name in ("query", "key", "value")} | {
        "attention.output.dense": (d, d),
        "intermediate.dense": (wide, d),
        "output.dense": (d, wide),
    }
    norms = ["embeddings.LayerNorm"]
    for i in range(sizes["num_hidden_layers"]):
        layer = f"encoder.layer.{i}"
        for name, shape in linears.items():
            shapes[f"{layer}.{name}.weight"] = shape
            shapes[f"{layer}.{name}.bias"] = shape[:1]
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    for norm in norms:
        shapes |= {f"{norm}.weight": (d,), f"{norm}.bias": (d,)}
    return shapes


def check_shapes(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> None:
    """Compare the names and shapes of two sets of tensors.

    Raises:
        CheckpointError: They differ; the message has the first differences.
    """
    problems = [f"{name} is missing" for name in expected.keys() - found.keys()]
    unexpected = found.keys() - expected.keys()
    problems += [f"{shortened(name).strip(chr(39))} is unexpected" for name in unexpected]
    for name in expected.keys() & found.keys():
        if expected[name] != found[name]:
            shape = shortened(found[name])
            problems.append(f"{name} has the shape {shape}, expected {expected[name]}")
    if problems:
        raise CheckpointError(
            f"The weights do not match config.json ({len(problems)} differences): "
            f"{'; '.join(sorted(problems)[:3])}. Download or export the checkpoint again."
        )


def _check_values(path: Path, config: Mapping[str, Any]) -> None:
    for key, (lowest, highest) in _SIZES.items():
        value = config[key]
        if type(value) is not int or not lowest <= value <= highest:
            raise _wrong(path, key, value, f"it must be an integer from {lowest} to {highest:,}")
    width, heads, pad = (
        config[key] for key in ("hidden_size", "num_attention_heads", "pad_token_id")
    )
    if width % heads:
        raise _wrong(path, "num_attention_heads", heads, f"it must divide hidden_size, {width}")
    positions, vocabulary = config["max_position_embeddings"], config["vocab_size"]
    if pad >= vocabulary:
        raise _wrong(path, "pad_token_id", pad, f"it must be below vocab_size, {vocabulary:,}")
    if max_length(config) < MIN_LENGTH:
        problem = f"with pad_token_id {pad}, that leaves less than {MIN_LENGTH} tokens of a text"
        raise _wrong(path, "max_position_embeddings", positions, problem)
    act = config["hidden_act"]
    if not isinstance(act, str) or act not in _ACTIVATIONS:
        raise _wrong(path, "hidden_act", act, "BGE-M3 has 'gelu'")
    passage, most = config.get(_PASSAGE_TOKENS), max_length(config)
    if passage is not None and (type(passage) is not int or not _SHORTEST <= passage <= most):
        problem = f"it must be an integer from {_SHORTEST} to {most:,}"
        raise _wrong(path, _PASSAGE_TOKENS, passage, problem)
    _check_number(path, config, "layer_norm_eps", below=0.1)
    for key in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        _check_number(path, config, key, below=1.0, zero=True)
    for key, allowed in _UNSUPPORTED.items():
        if config.get(key) not in allowed:
            raise _wrong(path, key, config[key], "m3rag does not support it")


def _check_number(
    path: Path, config: Mapping[str, Any], key: str, *, below: float, zero: bool = False
) -> None:
    value = config[key]
    if not is_number(value) or not 0 <= value < below or not (value or zero):
        rule = f"{'at least' if zero else 'above'} 0 and below {below}"
        raise _wrong(path, key, value, f"it must be a number {rule}")


def _wrong(path: Path, key: str, value: object, problem: str) -> CheckpointError:
    return CheckpointError(
        f"{path} has {key} = {shortened(value)}: {problem}. Take config.json from the original "
        "checkpoint."
    )
