"""Write a trained network as a folder in the BGE-M3 layout, float16."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path

import torch
from network import POSITIONS, Shape, TinyM3, hub_state
from safetensors.torch import save_file
from torch import Tensor

LIMIT = 25_000_000  # bytes, the whole folder
MAX_TOKENS = POSITIONS - 2


def half(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors in float16; a value float16 cannot hold is an error."""
    halved = {
        name: tensor.detach().to(torch.float16).contiguous().clone()
        for name, tensor in state.items()
    }
    for name, tensor in halved.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{name} holds values that float16 cannot: the training diverged")
    return halved


def small_files() -> dict[str, object]:
    """Return the JSON files beside the weights: tokenizer and sentence-transformers settings."""
    tokens = {
        "bos": "<s>",
        "eos": "</s>",
        "unk": "<unk>",
        "sep": "</s>",
        "pad": "<pad>",
        "cls": "<s>",
    }
    special: dict[str, object] = {f"{name}_token": token for name, token in tokens.items()}
    mask = {
        "content": "<mask>",
        "lstrip": True,
        "normalized": False,
        "rstrip": False,
        "single_word": False,
    }
    tokenizer_class = {"tokenizer_class": "XLMRobertaTokenizerFast", "model_max_length": MAX_TOKENS}
    transformer = "sentence_transformers.models.Transformer"
    stages = [
        ("", transformer),
        ("1_Pooling", "sentence_transformers.models.Pooling"),
        ("2_Normalize", "sentence_transformers.models.Normalize"),
    ]
    return {
        "special_tokens_map.json": {**special, "mask_token": mask},
        "tokenizer_config.json": {
            **special,
            "mask_token": "<mask>",
            **tokenizer_class,
            "clean_up_tokenization_spaces": True,
        },
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": kind}
            for i, (path, kind) in enumerate(stages)
        ],
        "sentence_bert_config.json": {"max_seq_length": MAX_TOKENS, "do_lower_case": False},
        "config_sentence_transformers.json": {"prompts": {}, "default_prompt_name": None},
    }


def pooling(width: int) -> dict[str, object]:
    """Return sentence-transformers' pooling settings: the first token, as M3 does."""
    return {
        "word_embedding_dimension": width,
        "pooling_mode_cls_token": True,
        "pooling_mode_mean_tokens": False,
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    }


def write(model: TinyM3, tokenizer: Path, folder: Path) -> None:
    """Write every file of the checkpoint; files already there are replaced one by one."""
    work = folder.with_name(folder.name + ".new")
    shutil.rmtree(work, ignore_errors=True)
    (work / "1_Pooling").mkdir(parents=True)
    save_file(half(hub_state(model)), work / "model.safetensors", metadata={"format": "pt"})
    for head in ("colbert", "sparse"):
        torch.save(half(getattr(model, head).state_dict()), work / f"{head}_linear.pt")
    contents = {
        **small_files(),
        "config.json": model.shape.config(),
        "1_Pooling/config.json": pooling(model.shape.width),
    }
    for name, content in contents.items():
        (work / name).write_text(
            json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8"
        )
    shutil.copyfile(tokenizer, work / "tokenizer.json")
    for path in sorted(work.rglob("*")):
        if path.is_file():
            target = folder / path.relative_to(work)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.chmod(0o644)
            os.replace(path, target)
    shutil.rmtree(work)


def size(folder: Path) -> int:
    """Return the folder's size in bytes, or raise when it is above the limit."""
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if total > LIMIT:
        raise ValueError(
            f"{folder} holds {total:,} bytes, above the limit of {LIMIT:,}: prune more pieces"
        )
    return total


def load(path: Path) -> TinyM3:
    """Read a network saved by :mod:`train`."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    model = TinyM3(Shape(**saved["shape"]))
    model.load_state_dict(saved["model"])
    return model.eval()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", type=Path, help="the .pt file that training saved")
    parser.add_argument("tokenizer", type=Path, help="the pruned tokenizer.json")
    parser.add_argument("folder", type=Path, help="the checkpoint folder to write")
    args = parser.parse_args()
    write(load(args.network), args.tokenizer, args.folder)
    print(f"{args.folder}: {size(args.folder):,} bytes")


if __name__ == "__main__":
    main()
