"""The ways in which a model folder is made hostile: each function changes a folder of a model."""

from __future__ import annotations

import base64
import functools
import io
import json
import os
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from tests.trials.small_model import edit, save_pickle, tensor_pickle

Hostile = Callable[[Path], object]

ALL_FILES = (
    *("config.json", "tokenizer.json", "model.safetensors"),
    *("sparse_linear.pt", "colbert_linear.pt"),
)
HEAD = "colbert_linear.pt"


def setting(key: str, value: Any) -> Hostile:
    """Put an odd value into the config."""
    return lambda folder: edit(folder / "config.json", lambda config: config | {key: value})


def content(name: str, data: bytes) -> Hostile:
    """Replace a file."""
    return lambda folder: (folder / name).write_bytes(data)


def special(name: str, kind: str) -> Hostile:
    """Replace a file by something that is not a regular file."""

    def change(folder: Path) -> None:
        path = folder / name
        path.unlink(missing_ok=True)
        makers: dict[str, Callable[[], object]] = {
            "folder": path.mkdir,
            "FIFO": lambda: os.mkfifo(path),
            "device": lambda: path.symlink_to("/dev/zero"),
            "dangling link": lambda: path.symlink_to("nowhere"),
            "link to itself": lambda: path.symlink_to(name),
            "kernel file": lambda: path.symlink_to("/proc/self/mem"),
        }
        makers[kind]()

    return change


def sparse_file(name: str, size: int) -> Hostile:
    """Make a file large without writing it."""

    def change(folder: Path) -> None:
        (folder / name).touch()
        os.truncate(folder / name, size)

    return change


def index(weight_map: Any) -> Hostile:
    """Add an index of shards."""
    value = json.dumps({"weight_map": weight_map}).encode()
    return content("model.safetensors.index.json", value)


def tensors(
    change: Callable[[dict[str, torch.Tensor]], object], *, pickled: bool = False
) -> Hostile:
    """Change the encoder's tensors; `pickled` writes them as pytorch_model.bin."""

    def apply(folder: Path) -> None:
        path = folder / "model.safetensors"
        loaded = safetensors.torch.load_file(path)
        found = {name: tensor.clone() for name, tensor in loaded.items()}
        change(found)
        path.unlink()
        if pickled:
            torch.save(found, folder / "pytorch_model.bin")
        else:
            safetensors.torch.save_file(found, path)

    return apply


def head(values: object, **options: Any) -> Hostile:
    """Replace the ColBERT head."""
    return lambda folder: torch.save(values, folder / HEAD, **options)


def pickled(data: bytes, records: dict[str, bytes] | None = None) -> Hostile:
    """Replace the ColBERT head by a pickle of one's own."""
    return lambda folder: save_pickle(folder / HEAD, data, records)


@functools.cache
def _bomb(record: str, megabytes: int) -> bytes:
    target = io.BytesIO()
    archive = zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with archive:
        with archive.open(f"head/{record}", "w", force_zip64=True) as file:
            for _ in range(megabytes):
                file.write(bytes(1 << 20))
        if record != "data.pkl":
            rows = megabytes << 14
            archive.writestr("head/data.pkl", tensor_pickle((rows, 16), (16, 1), rows * 16))
    return target.getvalue()


def deflated(record: str = "data.pkl", megabytes: int = 1200) -> Hostile:
    """Replace the ColBERT head by an archive with a record that expands to much memory."""
    return lambda folder: (folder / HEAD).write_bytes(_bomb(record, megabytes))


def tokenizer(change: Callable[[dict[str, Any]], object]) -> Hostile:
    """Change the content of tokenizer.json."""
    return lambda folder: edit(folder / "tokenizer.json", change)


def normalizer(*steps: dict[str, Any]) -> Hostile:
    """Replace the normalizer."""
    value = {"type": "Sequence", "normalizers": list(steps)}
    return tokenizer(lambda found: found | {"normalizer": value})


def replacing(pattern: str, replacement: str, kind: str = "Regex") -> dict[str, Any]:
    """Return a step of a normalizer that replaces a pattern."""
    return {"type": "Replace", "pattern": {kind: pattern}, "content": replacement}


def charsmap(data: bytes) -> Hostile:
    """Replace the normalizer by a character map."""
    encoded = base64.b64encode(data).decode()
    return normalizer({"type": "Precompiled", "precompiled_charsmap": encoded})


def vocabulary(*entries: Any) -> Hostile:
    """Add tokens to the vocabulary."""
    return tokenizer(lambda found: found["model"]["vocab"].extend(entries))


def added(*tokens: tuple[int, str]) -> Hostile:
    """Add tokens to the special ones."""

    def change(found: dict[str, Any]) -> None:
        first = found["added_tokens"][0]
        found["added_tokens"] += [first | {"id": i, "content": text} for i, text in tokens]

    return tokenizer(change)


def header(length: int, text: bytes = b"") -> Hostile:
    """Replace model.safetensors by a header that claims a length."""
    return content("model.safetensors", struct.pack("<Q", length) + text)


def header_of(dtype: str, shape: list[int], end: int) -> Hostile:
    """Replace model.safetensors by one tensor of which there are no numbers."""
    value = {"a": {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}}
    text = json.dumps(value).encode()
    return header(len(text), text)


def tensor(name: str, value: torch.Tensor | torch.dtype, *, pickled: bool = False) -> Hostile:
    """Replace one of the encoder's tensors, or convert it to a dtype."""

    def change(found: dict[str, torch.Tensor]) -> None:
        found[name] = value if isinstance(value, torch.Tensor) else found[name].to(value)

    return tensors(change, pickled=pickled)


def times(factor: float, *names: str) -> Hostile:
    """Multiply tensors of the encoder, all of them by default."""
    return tensors(lambda found: [found[name].mul_(factor) for name in names or found])


def quantized() -> Hostile:
    """Replace the weight of the ColBERT head by a quantized one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates them, and files with them remain
        weight = torch.quantize_per_tensor(torch.zeros(8, 16), 0.1, 0, torch.qint8)
        return head({"weight": weight, "bias": torch.zeros(8)})


def of_tokenizer(key: str, value: Any) -> Hostile:
    """Put a value into tokenizer.json."""
    return tokenizer(lambda found: found | {key: value})


def of_vocabulary(key: str, value: Any) -> Hostile:
    """Put a value into the model of tokenizer.json."""
    return tokenizer(lambda found: found["model"].update({key: value}))


def without(token: str) -> Hostile:
    """Remove a token from tokenizer.json."""

    def change(found: dict[str, Any]) -> None:
        found["added_tokens"] = [t for t in found["added_tokens"] if t["content"] != token]
        vocab = found["model"]["vocab"]
        found["model"]["vocab"] = [[f"{t}!" if t == token else t, score] for t, score in vocab]

    return tokenizer(change)


def mutated(seed: int) -> tuple[str, Hostile]:
    """Return a random mutation of a random file."""
    choice = random.Random(seed)
    name, kind = choice.choice(ALL_FILES), choice.choice(("flip", "cut", "zero", "insert", "swap"))

    def change(folder: Path) -> None:
        path = folder / name
        data = bytearray(path.read_bytes())
        # Half of the changes are near an end, where the formats have their structure.
        edge = choice.choice((64, 1024, len(data)))
        at = choice.randrange(min(edge, len(data)))
        at = at if choice.random() < 0.5 else len(data) - 1 - at
        length = choice.choice((1, 4, 64))
        if kind == "flip":
            for _ in range(choice.choice((1, 10, 200))):
                data[(at + choice.randrange(edge)) % len(data)] ^= 1 << choice.randrange(8)
        elif kind == "cut":
            del data[at:]
        elif kind == "zero":
            data[at : at + length] = bytes(len(data[at : at + length]))
        elif kind == "insert":
            data[at:at] = choice.randbytes(length)
        else:
            other = choice.randrange(len(data))
            data[at], data[other] = data[other], data[at]
        path.write_bytes(data)

    return f"{seed}: {kind} of {name}", change
