"""A checkpoint of 60 KB, and files that are hard to make by hand: the material of hostile ones."""

from __future__ import annotations

import json
import pickle  # noqa: TID251  # makes the pickles that m3rag must refuse
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from m3rag.model import checkpoint
from m3rag.model.architecture import encoder_shapes
from m3rag.model.checkpoint import Checkpoint
from m3rag.model.lookup import BUNDLED
from m3rag.model.tokenizer import Tokenizer

CONFIG: dict[str, Any] = {
    "model_type": "xlm-roberta",
    "pad_token_id": 1,
    "hidden_act": "gelu",
    "hidden_size": 16,
    "intermediate_size": 32,
    "layer_norm_eps": 1e-5,
    "max_position_embeddings": 66,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "type_vocab_size": 1,
    "vocab_size": 300,
}


def write_small(folder: Path, *, packed: bool = False, **sizes: int) -> Path:
    """Write a model with random weights, and return its folder.

    Args:
        folder: The folder, which does not exist.
        packed: Whether to write it packed; that needs a `hidden_size` of 32 or a multiple.
        sizes: Values of the config that differ from `CONFIG`.
    """
    folder.mkdir(parents=True)
    config = CONFIG | sizes
    width = config["hidden_size"]
    content = json.loads((BUNDLED["tiny"] / "tokenizer.json").read_text(encoding="utf-8"))
    letters = [[letter, -5.0] for letter in "▁abcdefghijklmnopqrstuvwxyz"]
    kept = [entry for entry in content["model"]["vocab"][:260] if entry[0] not in dict(letters)]
    content["model"]["vocab"] = kept + letters
    content["added_tokens"] = content["added_tokens"][:4]
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    random = torch.Generator().manual_seed(1)

    def tensor(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random) / 4

    checkpoint.write(
        Checkpoint(
            config=config,
            tokenizer=Tokenizer(folder / "tokenizer.json"),
            encoder={name: tensor(*shape) for name, shape in encoder_shapes(config).items()},
            heads={
                "sparse_linear": {"weight": tensor(1, width), "bias": tensor(1)},
                "colbert_linear": {"weight": tensor(8, width), "bias": tensor(8)},
            },
        ),
        folder,
        packed=packed,
    )
    if packed:
        (folder / "tokenizer.json").unlink()  # tokenizer.json.gz is there
    return folder


def edit(path: Path, change: Callable[[Any], object]) -> None:
    """Change the content of a JSON file; a result other than None replaces it."""
    content = json.loads(path.read_text(encoding="utf-8"))
    result = change(content)
    path.write_text(json.dumps(content if result is None else result), encoding="utf-8")


def save_pickle(path: Path, data: bytes, records: dict[str, bytes] | None = None) -> None:
    """Write a `.pt` file with a pickle of one's own."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("head/data.pkl", data)
        archive.writestr("head/byteorder", b"little")
        for name, content in (records or {}).items():
            archive.writestr(f"head/{name}", content)
        archive.writestr("head/version", b"3\n")


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call


def calls(**values: Any) -> bytes:
    """Return the pickle of a dict, in the protocol of torch.save."""
    return pickle.dumps(values, protocol=2)


def text(value: str) -> bytes:
    """Return the operation that pushes a string."""
    data = value.encode()
    return b"X" + len(data).to_bytes(4, "little") + data


def tensor_pickle(shape: tuple[int, ...], stride: tuple[int, ...], numel: int) -> bytes:
    """Return the pickle of `{"weight": tensor, "bias": tensor}` in a storage "0" of floats."""

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(pickle.dumps(v, 2)[2:-1] for v in values) + b"t"

    def tensor(shape: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
        storage = (
            b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu")
            + pickle.dumps(numel, 2)[2:-1] + b"tQ"
        )  # fmt: skip
        hooks = b"ccollections\nOrderedDict\n)R"
        arguments = storage + b"K\x00" + numbers(shape) + numbers(stride) + b"\x89" + hooks
        return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"

    weight, bias = tensor(shape, stride), tensor(shape[:1], stride[:1])
    return b"\x80\x02}(" + text("weight") + weight + text("bias") + bias + b"u."
