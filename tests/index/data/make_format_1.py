"""Make `format-1.tar.gz` and `format-1.json`: indexes of format 1 and what searches find in them.

    python tests/index/data/make_format_1.py

Version 0.1.0 of m3rag made the two files, with qdrant-edge-py 0.9.0. They show that later versions
read the folders of that one, so do not make them again with a later version: a new format gets a
file of its own beside these.

The archive has a folder for each kind of index in `INDEXES` and the documents in `plants`. The
JSON file has the passages, the presets and the hits of several searches. The indexes are closed,
`lock` and `owner.json` are left out. GNU tar packs them, because the engine's files have holes:
32 MB each, of which a few KB are written. The documents are short because each ColBERT vector of
256 dimensions takes 1.2 KB in the archive, most of it as float32 in the engine's log.

The engine names its files at random and the manifest has the time, so another run makes another
archive, with equal passages and hits. Packing the same folders again gives the same archive.

An index keeps a hash of the absolute path of the folder it follows. `FOLDER` is that path; the
script makes the folder there and removes it at the end.
"""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import m3rag
from m3rag import Hit, M3Index, M3Model, Passage
from m3rag.index.folder import sync
from m3rag.index.presets import Preset

HERE = Path(__file__).parent
FOLDER = Path("/tmp/m3rag-format-1/plants")
MAX_TOKENS, OVERLAP = 16, 4
SAFE = 2e-5  # twice the test's tolerance: scores that decide the order are equal or farther apart

INDEXES: dict[str, dict[str, str]] = {
    "stored": {"colbert": "stored"},
    "on-demand": {"colbert": "on-demand"},
    "off": {"colbert": "off"},
    "document": {"colbert": "stored", "context": "document"},
}

DOCUMENTS = {
    "en/ferns.md": """\
# Ferns

Ferns like shade.

## Watering

Water them weekly.
""",
    "es/riego.md": """\
# Riego

La bomba riega las plantas.

## Sensor

Mide la humedad.

## Bomba

Es solar.
""",
    "de/kaktus.txt": """\
Ein Kaktus braucht wenig Wasser.

Im Winter kaum.
""",
    "zh/水.txt": """\
植物需要水和阳光。

传感器测量湿度。
""",
}

LOOSE = (
    Passage("moss", "Moss has no roots.", {"lang": "en", "year": 2021, "tags": ["moss", "shade"]}),
    Passage("musgo", "El musgo.", {"lang": "es", "ph": 5.5, "wild": True, "by": None}),
)

PRESETS = {
    "learned": Preset({"dense": 0.4, "sparse": 1.0, "bm25": 0.02}, learned_from="4 questions"),
    "ranked": Preset({"dense": 1.0, "colbert": 1.0}, "rrf", 10.0),
    "careful": Preset({"dense": 1.0, "colbert": 1.0}, min_score=0.35),
}

ALL = ["dense", "sparse", "colbert", "bm25"]
SEARCHES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("Which plants like shade?", {}),
    ("When are the ferns watered?", {"weights": "cross-lingual"}),
    ("¿Qué mide el sensor?", {"weights": "long-document"}),
    ("Wie viel Wasser braucht ein Kaktus?", {"fusion": "rrf"}),
    ("植物需要什么?", {"channels": ALL}),
    ("shade for ferns", {"channels": ["bm25"]}),
    ("Does moss have roots?", {"weights": [1.0, 0.5, 0.0, 0.02]}),
    ("What measures the soil?", {"filter": {"source": ["plants/es/riego.md", "plants/zh/水.txt"]}}),
    ("musgo", {"filter": {"$or": [{"year": {"gte": 2020}}, {"wild": True}]}}),
    ("Which plants need water?", {"balance": "format"}),  # five passages are Markdown, enough
)
PRESET_SEARCHES: tuple[tuple[str, dict[str, Any]], ...] = tuple(
    ("Which plants need water?", {"weights": name}) for name in PRESETS
)


def main() -> None:
    """Make both files beside this one."""
    if m3rag.__version__ != "0.1.0":
        raise SystemExit(f"Version 0.1.0 makes format 1, this is {m3rag.__version__}.")
    with (
        tempfile.TemporaryDirectory() as folder,
        documents(),
        M3Model.load("tiny", dtype="float32") as model,
    ):
        place = Path(folder)
        found = {name: made(place / name, model, kind) for name, kind in INDEXES.items()}
        passages = [entry.pop("passages") for entry in found.values()]
        if any(other != passages[0] for other in passages):
            raise SystemExit("The indexes have different passages.")
        facts = {
            "made_by": f"m3rag {m3rag.__version__}, qdrant-edge-py {version('qdrant-edge-py')}",
            "folder": str(FOLDER),
            "max_tokens": MAX_TOKENS,
            "overlap": OVERLAP,
            "passages": passages[0],
            "indexes": found,
        }
        shutil.copytree(FOLDER, place / FOLDER.name)
        pack(place, HERE / "format-1.tar.gz")
    (HERE / "format-1.json").write_text(lines(facts) + "\n", "utf-8")


@contextmanager
def documents() -> Iterator[None]:
    """The documents are in their folder; refuse one that somebody else made."""
    FOLDER.mkdir(parents=True)
    try:
        for name, text in DOCUMENTS.items():
            file = FOLDER / name
            file.parent.mkdir()
            file.write_text(text, "utf-8")
        yield
    finally:
        shutil.rmtree(FOLDER.parent)


def made(path: Path, model: M3Model, kind: dict[str, str]) -> dict[str, Any]:
    """Make an index, close it, and return what it has and finds when it is open again."""
    with M3Index.open(path, model=model, **kind) as index:
        changes = sync(index, FOLDER, model.tokenizer, max_tokens=MAX_TOKENS, overlap=OVERLAP)
        if sorted(changes.added) != sorted(f"{FOLDER.name}/{name}" for name in DOCUMENTS):
            raise SystemExit(f"Not all documents were added: {changes}.")
        index.add(LOOSE)
        if path.name == "stored":
            for name, preset in PRESETS.items():
                index.save_preset(name, preset)
    with M3Index.open(path, model=model) as index:
        asked = [*SEARCHES, *(PRESET_SEARCHES if index.presets else ())]
        entry = {
            "manifest": {"colbert": index.manifest.colbert, "context": index.manifest.context},
            "presets": {name: asdict(preset) for name, preset in index.presets.items()},
            "searches": [searched(index, query, settings) for query, settings in asked],
            "passages": sorted(
                ({**asdict(p), "metadata": dict(p.metadata)} for p in index.passages()),
                key=lambda values: str(values["id"]),
            ),
        }
    for name in ("lock", "owner.json"):
        (path / name).unlink(missing_ok=True)
    return entry


def searched(index: M3Index, query: str, settings: dict[str, Any]) -> dict[str, Any]:
    """A search as JSON values: its arguments and all of its hits, best first."""
    if "channels" in settings:  # an index with colbert="off" has no such channel
        channels = [c for c in settings["channels"] if c in index.channels]
        settings = {**settings, "channels": channels}
    hits = index.search(query, 100, **settings)
    if not hits:
        raise SystemExit(f"Nothing was found for {query!r}.")
    preset = index.presets.get(str(settings.get("weights")))
    ranks = "rrf" in (settings.get("fusion"), preset and preset.fusion)
    for name in ALL if ranks else ["score"]:
        check_gaps(query, name, hits)
    facts = [
        {"id": hit.passage.id, **{name: getattr(hit, name) for name in ("score", *ALL)}}
        for hit in hits
    ]
    return {"query": query, "settings": settings, "hits": facts}


def check_gaps(query: str, name: str, hits: list[Hit]) -> None:
    """Refuse scores so near that another processor may turn their order."""
    scores = sorted(value for hit in hits if (value := getattr(hit, name)) is not None)
    for low, high in pairwise(scores):
        if 0 < high - low < SAFE:
            raise SystemExit(f"{query!r}: {name} has {low} and {high}. Change the texts a little.")


def pack(place: Path, archive: Path) -> None:
    """Pack the folders: sorted, without times and owners, holes as holes."""
    tar = ["tar", "--format=gnu", "--sparse", "--hole-detection=raw", "--sort=name"]
    tar += ["--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX"]
    names = sorted(path.name for path in place.iterdir())
    packed = subprocess.run(
        [*tar, "-C", place, "-cf", "-", *names], check=True, capture_output=True
    )
    archive.write_bytes(gzip.compress(packed.stdout, 9, mtime=0))


def lines(value: Any, level: int = 0) -> str:
    """JSON that can be compared by eye: what fits stands on one line."""
    short = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or (level and len(short) < 200):
        return short
    margin, inside = " " * level, " " * (level + 1)
    if isinstance(value, dict):
        parts = [
            f"{json.dumps(k, ensure_ascii=False)}: {lines(v, level + 1)}" for k, v in value.items()
        ]
        return "{\n" + ",\n".join(inside + part for part in parts) + f"\n{margin}}}"
    return "[\n" + ",\n".join(inside + lines(part, level + 1) for part in value) + f"\n{margin}]"


if __name__ == "__main__":
    main()
