"""Find a model's folder by name, and describe a model for other processes.

A model is bundled with the package, in a local folder, or on the Hugging Face Hub.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from m3rag.errors import CheckpointError

DEFAULT = "BAAI/bge-m3"
BUNDLED = {"tiny": Path(__file__).parent.parent / "bundled" / "tiny"}
"""The folders of the models that come with the package, by name."""

_HUB_FILES = ["*.json", "*.pt", "model*.safetensors", "pytorch_model*.bin"]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A description from which another process can load an equal model.

    It has plain values and no weights. `M3Model.spec` describes a model, and
    `m3rag.model.shared.model_of` returns the process's shared model for a description.

    Attributes:
        name: A hub id, a folder, or the name of a bundled model.
        revision: A branch, tag or commit on the hub.
        device: "auto", or a name that `torch.device` takes.
        dtype: "auto", "float32", "bfloat16" or "float16".
        max_length: The most tokens to encode of a text; None for the model's own limit.
        fingerprint: The fingerprint that the loaded model must have; None accepts any weights.
    """

    name: str
    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    max_length: int | None = None
    fingerprint: str | None = None


def locate(name_or_path: str | Path, *, revision: str | None = None) -> Path:
    """Return the folder of a model, downloading the model from the hub if necessary.

    Args:
        name_or_path: "tiny", a local folder, or a hub id. Offline, the hub's cache is used.
        revision: A branch, tag or commit on the hub.

    Raises:
        CheckpointError: There is no such folder, or the hub cannot provide the model.
    """
    if name_or_path in BUNDLED:
        return BUNDLED[str(name_or_path)]
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise CheckpointError(f"{path} is a file. Pass a folder in the BGE-M3 layout.")
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
    except Exception as error:  # network, authorisation, unknown name: all have the same fix
        raise CheckpointError(
            f"The hub cannot provide {name!r} ({type(error).__name__}: {error}), and no copy is "
            'cached. Check the name and the network, pass a folder, or try m3rag with "tiny".'
        ) from error
