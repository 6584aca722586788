"""A folder that holds an index: `m3rag.json`, `presets.json` and the files of the engine."""

from __future__ import annotations

from pathlib import Path

from m3rag.errors import FormatError
from m3rag.files import write_bytes
from m3rag.stores.base import MANIFEST, Widths
from m3rag.stores.edge.store import EdgeStore


class FolderLocation:
    """An index in a folder.

    Attributes:
        path: The folder.
        engine: The storage engine's name.
    """

    engine = "qdrant-edge"

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def exists(self) -> bool:
        """Return whether the folder holds an index.

        Raises:
            FormatError: The path is a file.
        """
        if self.path.exists() and not self.path.is_dir():
            raise FormatError(f"{self.path} is a file, not the folder of an index. Pass a folder.")
        return (self.path / MANIFEST).exists()

    def check_new(self, *, create: bool) -> None:
        """Check that an index can be created in the folder.

        Raises:
            FormatError: `create` is False, or the folder has other files in it.
        """
        if not create:
            state = "holds no index" if self.path.exists() else "does not exist"
            raise FormatError(
                f"{self.path} {state}, and create=False requires an index that exists. Pass its "
                "folder, or create=True to make a new one."
            )
        if not self.path.exists():
            return
        # An interrupted first write leaves an unfinished record.
        others = sorted(p.name for p in self.path.iterdir() if p.name != f"{MANIFEST}.new")
        if others:
            raise FormatError(
                f"{self.path} is not an m3rag index ({MANIFEST} is missing) and not empty: it has "
                f"{others[0]!r}. Choose a new folder."
            )

    def label(self, name: str) -> str:
        """Return the path of a record."""
        return str(self.path / name)

    def read(self, name: str) -> bytes | None:
        """Return a record; None if it does not exist.

        Raises:
            OSError: The file cannot be read.
        """
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write a record atomically, and create the folder if needed."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_bytes(self.path / name, content)

    def open_store(self, widths: Widths) -> EdgeStore:
        """Open the store, or create it; see `Location.open_store`."""
        return EdgeStore(self.path, dim=widths.dense, colbert_dim=widths.colbert)
