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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from m3rag.encoding import CHANNELS
from m3rag.errors import CheckpointError
from m3rag.model.architecture import check_shapes, encoder_shapes, read_config
from m3rag.model.modelfiles import exists, read_json, shard, shortened
from m3rag.model.pickled import TensorInfo
from m3rag.model.tokenizer import Tokenizer
from m3rag.model.weights import TensorFile, check_floats, inspect, load

_ENCODER_FILES = ("model.safetensors", "pytorch_model.bin")
_HEADS = ("sparse_linear", "colbert_linear")
_PRESETS = "presets.json"
_PRESETS_BYTES = 1 << 20
_INDEX_BYTES = 16 << 20
_MAX_SHARDS = 1000
_MAX_COLBERT = 1 << 16  # dimensions of a ColBERT vector
_MAX_WEIGHT = 1e6  # of a channel in a preset
_MAX_NAME = 200  # characters of a preset's name


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
    config = read_config(folder)
    encoder = _find_encoder(folder)
    infos = {name: info for file in encoder for name, info in file.infos.items()}
    words = infos.get("embeddings.word_embeddings.weight", TensorInfo("", (0,))).shape
    rows = words[0] if words else 0
    tokenizer = Tokenizer(folder / "tokenizer.json", rows)
    if tokenizer.vocab_size > rows:
        raise CheckpointError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size:,} tokens, but the encoder embeds "
            f"{rows:,}. The files belong to different models; take all files from one checkpoint."
        )
    for file in encoder:
        check_floats(file.path, file.infos)
    check_shapes(encoder_shapes(config), {name: info.shape for name, info in infos.items()})
    heads = {head: _find_head(folder, head, int(config["hidden_size"])) for head in _HEADS}
    checkpoint = Checkpoint(
        config=config,
        tokenizer=tokenizer,
        encoder={n: t for file in encoder for n, t in load(file.path, file.infos).items()},
        heads={head: load(file.path, file.infos) for head, file in heads.items()},
        presets=_read_presets(folder / _PRESETS),
    )
    for name, tensor in checkpoint.tensors():
        _check_numbers(folder, name, tensor)
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


def _find_encoder(folder: Path) -> list[TensorFile]:
    """Describe the encoder's files, each without the tensors that M3 does not use."""
    for name in _ENCODER_FILES:
        path, index = folder / name, folder / f"{name}.index.json"
        if exists(index):
            files = _find_shards(folder, index, Path(name).suffix)
        elif exists(path):
            files = [inspect(path)]
        else:
            continue
        return [TensorFile(path, _used(infos)) for path, infos in files]
    names = " nor ".join(_ENCODER_FILES)
    raise CheckpointError(f"{folder} has no weights: neither {names} exists.")


def _find_shards(folder: Path, index: Path, suffix: str) -> list[TensorFile]:
    """Describe the shards that an index file names, each with the tensors it is to provide."""
    content = read_json(index, _INDEX_BYTES)
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places:
        raise CheckpointError(
            f"{index} has no weight_map, which says where each tensor is. Download the file again."
        )
    tensors: dict[Path, list[str]] = {}
    paths: dict[object, Path] = {}
    for tensor, name in places.items():
        if not isinstance(name, str) or name not in paths:
            if len(paths) >= _MAX_SHARDS:
                raise CheckpointError(f"{index} names more than {_MAX_SHARDS:,} shards.")
            path = shard(folder, name, suffix, index)
            paths[name] = path
        tensors.setdefault(paths[name], []).append(tensor)
    files = []
    for path, names in sorted(tensors.items()):
        infos = inspect(path).infos
        for tensor in names:
            if tensor not in infos:
                raise CheckpointError(
                    f"{index} says that {shortened(tensor)} is in {path.name}, which does not have "
                    "it. The files belong to different models; download the whole checkpoint."
                )
        if left := sorted(infos.keys() - set(names)):
            raise CheckpointError(
                f"{path} has {len(left):,} tensors that {index.name} does not name, such as "
                f"{shortened(left[0])}. The files belong to different models; download the whole "
                "checkpoint."
            )
        files.append(TensorFile(path, infos))
    return files


def _used(infos: Mapping[str, TensorInfo]) -> dict[str, TensorInfo]:
    # Some exports include the pooler and the position buffer; M3 uses neither.
    return {
        name: info
        for name, info in infos.items()
        if not name.startswith("pooler.") and name != "embeddings.position_ids"
    }


def _find_head(folder: Path, head: str, hidden: int) -> TensorFile:
    path = folder / f"{head}.pt"
    if not exists(path):
        raise CheckpointError(
            f"{folder} has no {path.name}: without this head, its view would be random. A "
            "dense-only fine-tune does not save the heads; train all three views."
        )
    found = inspect(path)
    if set(found.infos) != {"weight", "bias"}:
        names = shortened(sorted(found.infos))
        raise CheckpointError(f"{path} contains {names}; expected weight and bias.")
    check_floats(path, found.infos)
    weight, bias = (found.infos[name].shape for name in ("weight", "bias"))
    rows = 1 if head == "sparse_linear" or not weight else weight[0]
    if weight != (rows, hidden) or bias != (rows,) or not 1 <= rows <= _MAX_COLBERT:
        raise CheckpointError(
            f"{path} has a weight of shape {shortened(weight)} and a bias of shape "
            f"{shortened(bias)}; this model needs ({rows}, {hidden}) and ({rows},)."
        )
    return found


def _check_numbers(folder: Path, name: str, tensor: Tensor) -> None:
    """Check that a tensor has no NaN, and no number so large that a product would overflow."""
    if torch.isfinite(tensor.sum(dtype=torch.float32)):
        return
    numbers = tensor.double()
    if torch.isfinite(numbers).all():
        found = f"numbers up to {numbers.abs().max().item():.2g}"
    else:
        found = "NaN or infinity"
    raise CheckpointError(
        f"{folder}: {name} contains {found}. The training run that wrote it diverged, or the file "
        "is damaged; download or export the checkpoint again."
    )


def _read_presets(path: Path) -> dict[str, dict[str, float]]:
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
