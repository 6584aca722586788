"""Finding the folder of a model by name: bundled, local, or on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from m3rag.errors import CheckpointError

DEFAULT = "BAAI/bge-m3"
BUNDLED = {"tiny": Path(__file__).parent.parent / "bundled" / "tiny"}
"""The models that come with the package, by name."""

_HUB_FILES = ["*.json", "*.pt", "model*.safetensors", "pytorch_model*.bin"]


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
