"""Read, check and write checkpoint folders in the BGE-M3 layout.

The layout is that of BAAI/bge-m3: `config.json`, `tokenizer.json`, the encoder as
`model.safetensors` or `pytorch_model.bin` (one file, or shards with an index), and the two heads
`colbert_linear.pt` and `sparse_linear.pt`. A part that is missing, damaged or of the wrong shape is
an error; FlagEmbedding would continue with a random head (FlagEmbedding#453). m3rag adds one
optional file, `presets.json`: fusion weights that suit this model, if it is not BGE-M3.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from m3rag.errors import CheckpointError
from m3rag.model.tokenizer import Tokenizer

_ENCODER_FILES = ("model.safetensors", "pytorch_model.bin")
_HEADS = ("sparse_linear", "colbert_linear")
_PRESETS = "presets.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The checked content of a model folder.

    Attributes:
        config: The content of `config.json`.
        tokenizer: The tokenizer.
        encoder: The tensors of XLM-RoBERTa by name, without the pooler.
        heads: `{"sparse_linear": {"weight" (1, d), "bias" (1,)}, "colbert_linear":
            {"weight" (c, d), "bias" (c,)}}`.
        presets: Fusion weights that suit this model, by name: `{"default": {"dense": 1.0, …}}`.
    """

    config: Mapping[str, Any]
    tokenizer: Tokenizer
    encoder: Mapping[str, Tensor]
    heads: Mapping[str, Mapping[str, Tensor]]
    presets: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def max_length(self) -> int:
        """The most tokens of a text; positions start after the padding index (8194 -> 8192)."""
        return int(self.config["max_position_embeddings"]) - int(self.config["pad_token_id"]) - 1

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield each tensor with its full name."""
        yield from self.encoder.items()
        for head, parts in self.heads.items():
            yield from ((f"{head}.{name}", tensor) for name, tensor in parts.items())

    def fingerprint(self) -> str:
        """Return a short hash that is equal for equal weights and tokenizers in any file format.

        It covers a 16-bit sample of each tensor instead of all 2 GB.
        """
        digest = hashlib.sha256(self.tokenizer.json)
        for name, tensor in sorted(self.tensors()):
            flat = tensor.reshape(-1)
            sample = flat[:: max(1, len(flat) // 1024)].to(torch.float16)
            digest.update(f"{name}{tuple(tensor.shape)}".encode())
            digest.update(sample.numpy().tobytes())
        return digest.hexdigest()[:16]


def read(folder: Path) -> Checkpoint:
    """Read and check a model folder.

    Raises:
        CheckpointError: A part is missing or damaged, has the wrong shape, or contains NaN.
    """
    config = _read_config(folder)
    checkpoint = Checkpoint(
        config=config,
        tokenizer=Tokenizer(folder / "tokenizer.json"),
        encoder=_read_encoder(folder),
        heads={head: _read_head(folder, head, int(config["hidden_size"])) for head in _HEADS},
        presets=_read_presets(folder / _PRESETS),
    )
    rows = len(checkpoint.encoder.get("embeddings.word_embeddings.weight", ()))
    if checkpoint.tokenizer.vocab_size > rows:
        raise CheckpointError(
            f"{folder}: the tokenizer has {checkpoint.tokenizer.vocab_size:,} tokens, but the "
            f"encoder embeds {rows:,}. The files belong to different models; take all files from "
            "one checkpoint."
        )
    for name, tensor in checkpoint.tensors():
        if not torch.isfinite(tensor.sum(dtype=torch.float32)):
            raise CheckpointError(
                f"{folder}: {name} contains NaN or infinity. The training run that wrote it "
                "diverged, or the file is damaged; download or export the checkpoint again."
            )
    return checkpoint


def write(checkpoint: Checkpoint, folder: Path) -> None:
    """Write a folder that m3rag, FlagEmbedding and sentence-transformers can load."""
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(
        {name: tensor.contiguous() for name, tensor in checkpoint.encoder.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    for head, parts in checkpoint.heads.items():
        torch.save(
            {name: t.contiguous().clone() for name, t in parts.items()}, folder / f"{head}.pt"
        )
    (folder / "tokenizer.json").write_bytes(checkpoint.tokenizer.json)
    for name, content in _side_files(checkpoint).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(
            f"{folder} has no config.json: it is not a model folder. A BGE-M3 folder contains "
            "config.json, tokenizer.json, model.safetensors or pytorch_model.bin, "
            "colbert_linear.pt and sparse_linear.pt."
        )
    try:
        config = json.loads(path.read_text())
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}.") from error
    if not isinstance(config, dict) or config.get("model_type") != "xlm-roberta":
        found = config.get("model_type") if isinstance(config, dict) else type(config).__name__
        raise CheckpointError(f"{path} describes {found!r}; BGE-M3 is 'xlm-roberta'.")
    for key in ("hidden_size", "max_position_embeddings", "pad_token_id"):
        if not isinstance(config.get(key), int):
            raise CheckpointError(
                f"{path} has no {key}: the file is incomplete. Download or export the checkpoint "
                "again."
            )
    return config


def _read_encoder(folder: Path) -> dict[str, Tensor]:
    for name in _ENCODER_FILES:
        path, index = folder / name, folder / f"{name}.index.json"
        if index.is_file():
            shards = sorted(set(json.loads(index.read_text())["weight_map"].values()))
            parts = [_read_tensors(folder / shard) for shard in shards]
            tensors = {key: tensor for part in parts for key, tensor in part.items()}
        elif path.is_file():
            tensors = _read_tensors(path)
        else:
            continue
        # Some exports include the pooler and the position buffer; M3 uses neither.
        return {
            key: tensor
            for key, tensor in tensors.items()
            if not key.startswith("pooler.") and key != "embeddings.position_ids"
        }
    names = " nor ".join(_ENCODER_FILES)
    raise CheckpointError(f"{folder} has no weights: neither {names} exists.")


def _read_head(folder: Path, head: str, hidden: int) -> dict[str, Tensor]:
    path = folder / f"{head}.pt"
    if not path.is_file():
        raise CheckpointError(
            f"{folder} has no {path.name}: without this head, its view would be random. A "
            "dense-only fine-tune does not save the heads; train all three views."
        )
    tensors = _read_tensors(path)
    if set(tensors) != {"weight", "bias"}:
        raise CheckpointError(f"{path} contains {sorted(tensors)}; expected weight and bias.")
    weight, bias = tensors["weight"], tensors["bias"]
    rows = 1 if head == "sparse_linear" else len(weight)
    if weight.shape != (rows, hidden) or bias.shape != (rows,):
        raise CheckpointError(
            f"{path} has a weight of shape {tuple(weight.shape)} and a bias of shape "
            f"{tuple(bias.shape)}; this model needs ({rows}, {hidden}) and ({rows},)."
        )
    return tensors


def _read_presets(path: Path) -> dict[str, dict[str, float]]:
    if not path.is_file():
        return {}
    try:
        return {
            str(name): {str(channel): float(weight) for channel, weight in weights.items()}
            for name, weights in json.loads(path.read_text()).items()
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} is not a JSON object of weights such as "
            f'{{"default": {{"dense": 1, "colbert": 1}}}} ({error}).'
        ) from error


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a state dict from `.safetensors`, `.bin` or `.pt`; only tensors are unpickled."""
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        mapped = zipfile.is_zipfile(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # a damaged file can make both readers raise any exception
        raise CheckpointError(
            f"{path} cannot be read ({type(error).__name__}: {error}). The file is damaged or "
            "incomplete; download it again."
        ) from error
    if not isinstance(tensors, dict) or not all(isinstance(t, Tensor) for t in tensors.values()):
        raise CheckpointError(f"{path} is not a state dict of tensors.")
    return tensors


def _side_files(checkpoint: Checkpoint) -> dict[str, object]:
    """Return the small JSON files of BAAI/bge-m3 and of sentence-transformers by name."""
    length = checkpoint.max_length
    special = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>"}
    special |= {"unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>"}
    package = "sentence_transformers.models"
    modules = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    pooling = {"word_embedding_dimension": checkpoint.config["hidden_size"]}
    presets = {name: dict(weights) for name, weights in checkpoint.presets.items()}
    return ({_PRESETS: presets} if presets else {}) | {
        "config.json": dict(checkpoint.config),
        "special_tokens_map.json": special,
        "tokenizer_config.json": special
        | {"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": length},
        "sentence_bert_config.json": {"max_seq_length": length, "do_lower_case": False},
        "1_Pooling/config.json": pooling | {"pooling_mode_cls_token": True},
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": f"{package}.{name}"}
            for i, (path, name) in enumerate(modules)
        ],
    }
