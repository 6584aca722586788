"""Read, check and write checkpoint folders in the BGE-M3 layout.

The layout is that of BAAI/bge-m3: `config.json`, `tokenizer.json`, the encoder as
`model.safetensors` or `pytorch_model.bin` (one file, or shards with an index), and the two heads
`colbert_linear.pt` and `sparse_linear.pt`. A part that is missing, damaged or of the wrong shape is
an error; FlagEmbedding would continue with a random head (FlagEmbedding#453). m3rag adds one
optional file, `presets.json`: fusion weights that suit this model, if it is not BGE-M3; and one
optional key of `config.json`, "passage_tokens": the length of passages that suits it. It also reads
and writes packed folders, a third as large (`m3rag.model.storage`). Cross-encoders have a layout
of their own (`m3rag.model.cross_checkpoint`).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from m3rag.errors import CheckpointError
from m3rag.model.architecture import (
    check_shapes,
    encoder_shapes,
    max_length,
    passage_tokens,
    read_config,
)
from m3rag.model.packing import (
    pack_layers,
    pack_tables,
    sampled,
    unpack_layers,
    unpack_tables,
)
from m3rag.model.parts import CLASSIFIER, HEADS, PREFIX, find_encoder, find_head
from m3rag.model.pickled import TensorInfo
from m3rag.model.sidefiles import (
    index_file,
    pooling_files,
    presets_file,
    read_presets,
    tokenizer_files,
)
from m3rag.model.storage import KEY, WORDS, packed_tensors
from m3rag.model.tokenizer import Tokenizer
from m3rag.model.weights import TensorFile, check_floats, load

_SAMPLE = 1024  # numbers of a tensor that the fingerprint covers, at least


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The checked content of a model folder.

    Attributes:
        config: The content of `config.json`.
        tokenizer: The tokenizer.
        encoder: The tensors of XLM-RoBERTa by name, without the pooler.
        heads: `{"sparse_linear": {"weight" (1, d), "bias" (1,)}, "colbert_linear":
            {"weight" (c, d), "bias" (c,)}}`; of a cross-encoder `{"classifier.dense":
            {"weight" (d, d), "bias" (d,)}, "classifier.out_proj": {"weight" (1, d), "bias" (1,)}}`.
        presets: Fusion weights that suit this model, by name: `{"default": {"dense": 1.0, …}}`.
    """

    config: Mapping[str, Any]
    tokenizer: Tokenizer
    encoder: Mapping[str, Tensor]
    heads: Mapping[str, Mapping[str, Tensor]]
    presets: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def max_length(self) -> int:
        """The most tokens of a text."""
        return max_length(self.config)

    @property
    def passage_tokens(self) -> int:
        """The length of passages that suits the model, in tokens."""
        return passage_tokens(self.config)

    @property
    def is_cross_encoder(self) -> bool:
        """Whether the model scores pairs, instead of encoding texts into views."""
        return self.heads.keys() == set(CLASSIFIER)

    @property
    def head_tensors(self) -> dict[str, Tensor]:
        """The tensors of the heads by their full names."""
        return {f"{head}.{n}": t for head, parts in self.heads.items() for n, t in parts.items()}

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield each tensor with its full name."""
        yield from self.encoder.items()
        yield from self.head_tensors.items()

    def fingerprint(self) -> str:
        """Return a short hash that is equal for equal weights and tokenizers in any file format.

        It covers a 16-bit sample of each tensor instead of all 2 GB. A packed model has the
        fingerprint of its float16 copy, since a packed number is defined as one in float16. Packing
        a model whose weights need more than 4 and 8 bits changes them, and with them the
        fingerprint.
        """
        digest = hashlib.sha256(self.tokenizer.json)
        samples = sampled(self.config, self.encoder, _SAMPLE)
        for head, parts in self.heads.items():
            of_head = sampled({}, parts, _SAMPLE)
            samples |= {f"{head}.{name}": found for name, found in of_head.items()}
        for name, (shape, sample) in sorted(samples.items()):
            digest.update(f"{name}{shape}".encode())
            digest.update(sample.to(torch.float16).numpy().tobytes())
        return digest.hexdigest()[:16]

    def unpacked(self) -> Checkpoint:
        """Return the checkpoint with all rows of its tables, as other libraries read it."""
        config, encoder = unpack_tables(self.config, self.encoder)
        return replace(self, config=config, encoder=encoder)

    def packed(self) -> Checkpoint:
        """Return the checkpoint in float16 with a packed word table.

        Raises:
            CheckpointError: It is a cross-encoder, the rows of its word table are not a multiple of
                32 long, or a number is too large for float16.
        """
        if self.is_cross_encoder:
            raise CheckpointError("A cross-encoder cannot be packed. Save it with packed=False.")
        half = self.in_float16()
        config, encoder = pack_tables(half.config, half.encoder)
        return replace(half, config=config, encoder=encoder)

    def in_float16(self) -> Checkpoint:
        """Return the checkpoint with all numbers in float16.

        Raises:
            CheckpointError: A number is too large for float16.
        """
        heads = {head: _halves(head, parts) for head, parts in self.heads.items()}
        config = {key: value for key, value in self.config.items() if key != "torch_dtype"}
        config["dtype"] = "float16"
        encoder = _halves("the encoder", self.encoder)
        return replace(self, config=config, encoder=encoder, heads=heads)


def read(folder: Path) -> Checkpoint:
    """Read and check a model folder.

    The layers of a packed model are unpacked to float16; its word table stays packed.

    Raises:
        CheckpointError: A part is missing or damaged, has the wrong shape, or contains NaN.
    """
    config = read_config(folder)
    encoder = find_encoder(folder)
    infos = {name: info for file in encoder for name, info in file.infos.items()}
    _check_encoder(config, encoder, infos)
    rows = infos[f"{WORDS}.{'codes' if KEY in config else 'weight'}"].shape[0]
    tokenizer = read_tokenizer(folder, rows)
    heads = {head: find_head(folder, head, int(config["hidden_size"])) for head in HEADS}
    tensors = {n: t for file in encoder for n, t in load(file.path, file.infos).items()}
    checkpoint = Checkpoint(
        config=config,
        tokenizer=tokenizer,
        encoder=unpack_layers(folder, tensors) if KEY in config else tensors,
        heads={head: load(file.path, file.infos) for head, file in heads.items()},
        presets=read_presets(folder),
    )
    check_numbers(folder, checkpoint)
    return checkpoint


def read_tokenizer(folder: Path, rows: int) -> Tokenizer:
    """Read the tokenizer of a model that embeds `rows` tokens.

    Raises:
        CheckpointError: It is missing, damaged, or has more tokens.
    """
    tokenizer = Tokenizer(folder / "tokenizer.json", rows)
    if tokenizer.vocab_size > rows:
        raise CheckpointError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size:,} tokens, but the encoder embeds "
            f"{rows:,}. The files belong to different models; take all files from one checkpoint."
        )
    return tokenizer


def check_numbers(folder: Path, checkpoint: Checkpoint) -> None:
    """Check the numbers of all tensors that were read from a folder.

    Raises:
        CheckpointError: One is NaN, or so large that a product would overflow.
    """
    for name, tensor in checkpoint.tensors():
        if tensor.is_floating_point():
            _check_numbers(folder, name, tensor)


def write(checkpoint: Checkpoint, folder: Path, *, packed: bool = False) -> None:
    """Write a folder that m3rag, FlagEmbedding and sentence-transformers can load.

    A cross-encoder gets the layout of `XLMRobertaForSequenceClassification`.

    Args:
        checkpoint: What to write; its word table may be packed.
        folder: Where to.
        packed: Write the word table in 4 bits, the layers in 8 bits and the rest in float16. Only
            m3rag reads such a folder. A word table that was packed keeps its codes.

    Raises:
        CheckpointError: The model cannot be packed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files, heads = presets_file(checkpoint.presets), checkpoint.heads
    if packed:
        checkpoint = checkpoint.packed()
        words, layers = pack_layers(checkpoint.encoder)
        shards = {"model-words.safetensors": words, "model-layers.safetensors": layers}
        files |= index_file(shards)
        tokenizer = gzip.compress(checkpoint.tokenizer.json, 9, mtime=0)
        (folder / "tokenizer.json.gz").write_bytes(tokenizer)
    else:
        checkpoint = checkpoint.unpacked()
        encoder = dict(checkpoint.encoder)
        files |= tokenizer_files(checkpoint.max_length)
        if checkpoint.is_cross_encoder:  # all tensors are in one file
            encoder = {f"{PREFIX}{name}": tensor for name, tensor in encoder.items()}
            encoder, heads = encoder | checkpoint.head_tensors, {}
        else:
            files |= pooling_files(checkpoint.config, checkpoint.max_length)
        shards = {"model.safetensors": encoder}
        (folder / "tokenizer.json").write_bytes(checkpoint.tokenizer.json)
    for name, content in (files | {"config.json": dict(checkpoint.config)}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        (folder / name).write_text(text, encoding="utf-8")
    for name, tensors in shards.items():
        whole = {key: tensor.contiguous() for key, tensor in tensors.items()}
        safetensors.torch.save_file(whole, folder / name, metadata={"format": "pt"})
        shutil.copymode(folder / "config.json", folder / name)  # the library lets nobody else read
    for head, parts in heads.items():
        own = {name: t.contiguous().clone() for name, t in parts.items()}
        torch.save(own, folder / f"{head}.pt")


def _check_encoder(
    config: Mapping[str, Any], files: Iterable[TensorFile], infos: Mapping[str, TensorInfo]
) -> None:
    """Check the names, shapes and dtypes of the encoder's tensors.

    Raises:
        CheckpointError: They are not those of the config.
    """
    shapes = encoder_shapes(config)
    packed = packed_tensors(shapes) if KEY in config else {}
    for name, info in packed.items():
        shapes.pop(f"{name.rpartition('.')[0]}.weight", None)
        shapes[name] = info.shape
    for file in files:
        check_floats(file.path, {n: info for n, info in file.infos.items() if n not in packed})
        for name in packed.keys() & file.infos.keys():
            if file.infos[name].dtype != packed[name].dtype:
                raise CheckpointError(
                    f"{file.path}: the tensor {name} is {file.infos[name].dtype}; a packed model "
                    f"has {packed[name].dtype} there. Download the model again."
                )
    check_shapes(shapes, {name: info.shape for name, info in infos.items()})


def _check_numbers(place: Path | str, name: str, tensor: Tensor) -> None:
    """Check that a tensor has no NaN, and no number so large that a product would overflow."""
    if torch.isfinite(tensor.sum(dtype=torch.float32)):
        return
    numbers = tensor.double()
    if torch.isfinite(numbers).all():
        found = f"numbers up to {numbers.abs().max().item():.2g}"
    else:
        found = "NaN or infinity"
    raise CheckpointError(
        f"{place}: {name} contains {found}. The training run that wrote it diverged, or the file "
        "is damaged; download or export the checkpoint again."
    )


def _halves(place: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors in float16; codes stay integers, and so small as they are."""
    found = {n: t.half() if t.is_floating_point() else t for n, t in tensors.items()}
    for name, tensor in found.items():
        if tensor.dtype != tensors[name].dtype:
            _check_numbers(f"{place} in float16", name, tensor)
    return found
