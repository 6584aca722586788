"""Models by name: the description of one, and its folder.

A model is bundled with the package, a local folder, or on the Hugging Face Hub.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from m3rag.errors import CheckpointError

DEFAULT = "BAAI/bge-m3"
BUNDLED = {"tiny": Path(__file__).parent.parent / "bundled" / "tiny"}
"""The models that come with the package, by name."""

_HUB_FILES = ["*.json", "*.pt", "model*.safetensors", "pytorch_model*.bin"]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What another process needs to load an equal model: plain values, no weights.

    `M3Model.spec` describes a model, and `m3rag.model.shared.model_of` returns the process's
    shared model of a description.

    Attributes:
        name: a hub id, a folder, or the name of a bundled model.
        revision: branch, tag or commit on the hub.
        device: "auto", or what `torch.device` takes.
        dtype: "auto", "float32", "bfloat16" or "float16".
        max_length: the most tokens encoded of a text; None for all that the model can take.
        fingerprint: what the loaded model must have; None accepts any weights.
    """

    name: str
    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    max_length: int | None = None
    fingerprint: str | None = None


def locate(name_or_path: str | Path, *, revision: str | None = None) -> Path:
    """The folder of a model: "tiny", a local folder, or a hub id (cache first when offline).

    Raises:
        CheckpointError: There is no such folder, or the hub cannot provide the model.
    """
    if name_or_path in BUNDLED:
        return BUNDLED[str(name_or_path)]
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise CheckpointError(f"{path} is a file; a model is a folder in the BGE-M3 layout.")
    name = str(name_or_path)
    if isinstance(name_or_path, Path) or name.startswith(("/", ".", "~")) or name.count("/") != 1:
        raise CheckpointError(
            f"There is no model folder {name!r}. Pass a folder in the BGE-M3 layout, "
            'a hub id such as "BAAI/bge-m3", or "tiny" (bundled, for tests and demos).'
        )
    return _download(name, revision)


def _download(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=_HUB_FILES))
    except Exception as error:  # network, authorisation, unknown names: one family of causes to us
        raise CheckpointError(
            f"The hub cannot provide {name!r} ({type(error).__name__}: {error}) and no copy is "
            'cached. Pass a folder, check the name and the network, or use "tiny" for a first try.'
        ) from error
