"""Find the folders of models that installed packages bring along.

A package offers a model with an entry point of the group `m3rag.models`. Its name is that of the
model, its value that of a package which has the model's folder under the name `model`:

    [project.entry-points."m3rag.models"]
    small = "m3rag_small"

Only the metadata of installed packages is read to find a name. The package itself is not imported,
unless it lies in another one: Python imports that one to find it.
"""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from m3rag.errors import CheckpointError
from m3rag.model.modelfiles import clipped, shortened

GROUP = "m3rag.models"
FOLDER = "model"

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}")
_PACKAGE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def package_folder(name: str) -> Path | None:
    """Return the folder of the model that an installed package offers under a name.

    Returns:
        None if no package offers it.

    Raises:
        CheckpointError: Two packages offer it, or the one that does has no such folder.
    """
    if not _NAME.fullmatch(name):
        return None
    try:
        found = [*entry_points(group=GROUP, name=name)]
    except Exception as error:  # the metadata of any package, which others wrote
        raise CheckpointError(
            f"The metadata of the installed packages cannot be read to find the model {name!r} "
            f"({type(error).__name__}: {clipped(error)}). Install the damaged package again."
        ) from error
    if len(found) > 1:
        owners = sorted(_owner(entry) for entry in found)
        raise CheckpointError(
            f"The installed packages {' and '.join(owners)} both offer a model {name!r}. Uninstall "
            f"one of them: pip uninstall {owners[-1]}"
        )
    return _folder(found[0]) if found else None


def _folder(entry: EntryPoint) -> Path:
    """Return the folder to which an entry point leads.

    Raises:
        CheckpointError: There is none in the package.
    """
    if not _PACKAGE.fullmatch(entry.value):
        raise _wrong(entry, "that is not the name of a package")
    try:
        spec = find_spec(entry.value)
    except Exception as error:  # the parent of the package is imported and may raise anything
        reason = f"it cannot be imported ({type(error).__name__}: {clipped(error)})"
        raise _wrong(entry, reason) from error
    places = [Path(place) for place in (spec and spec.submodule_search_locations) or ()]
    if not places:
        raise _wrong(entry, "there is no such package" if spec is None else "that is no package")
    folder = next((place / FOLDER for place in places if (place / FOLDER).is_dir()), None)
    if folder is None:
        raise _wrong(entry, f"that package has no folder {FOLDER}")
    target = folder.resolve()
    if not any(target.is_relative_to(place.resolve()) for place in places):
        raise _wrong(entry, f"its folder {FOLDER} is a link that leads out of it, to {target}")
    return folder


def _wrong(entry: EntryPoint, problem: str) -> CheckpointError:
    owner = _owner(entry)
    return CheckpointError(
        f"The installed package {owner} offers the model {entry.name!r} in "
        f"{shortened(entry.value)}, but {problem}. Install it again: "
        f"pip install --force-reinstall {owner}"
    )


def _owner(entry: EntryPoint) -> str:
    """Return the name of the distribution that an entry point belongs to."""
    return shortened(entry.dist.name if entry.dist else None).strip("'")
