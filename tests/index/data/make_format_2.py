"""Make `format-2.tar.gz`: an index of format 2, without the files of its engine, which is a cache.

    python tests/index/data/make_format_2.py

A development version of m3rag before format 3 made it. It shows that later versions read the
folders of that one, so do not make it again with a later version.
"""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

from m3rag import M3Index, M3Model, Passage
from m3rag.index.presets import Preset

HERE = Path(__file__).parent
KEPT = ("m3rag.json", "presets.json", "passages.db", "acknowledged")

PASSAGES = [
    Passage(
        "fern",
        "Ferns like shade.",
        {"author": {"name": "Ann"}, "when": "2026-03-01", "lang": "en", "year": 2019},
        "plants/en.md",
        0,
        17,
        ("Plants", "Ferns"),
    ),
    Passage("helecho", "Los helechos prefieren la sombra.", {"lang": "es", "year": 2021}),
    Passage("long", "Soil.", {"title": "Soil and water. " * 40, "tags": ["a", "b"], "ok": True}),
]


def main() -> None:
    """Make the index and pack it."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "kb"
        with M3Index.open(folder, model=M3Model.load("tiny"), colbert="off") as index:
            index.add(PASSAGES)
            index.save_preset("own", Preset({"dense": 1.0}))
            assert index.manifest.format == 2
        with tarfile.open(HERE / "format-2.tar.gz", "w:gz") as archive:
            for name in KEPT:
                archive.add(folder / name, f"kb/{name}")


if __name__ == "__main__":
    main()
