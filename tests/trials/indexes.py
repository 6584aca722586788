"""Whole indexes with the bundled model: made, viewed, and viewed again after damage."""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import subprocess
import sys
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m3rag import M3Index, M3Model, Passage
from m3rag.errors import DataLossWarning, M3Error
from m3rag.index.presets import Preset
from tests.trials.children import ROOT

WORDS = (
    "fern",
    "shade",
    "water",
    "soil",
    "moss",
    "light",
    "pot",
    "leaf",
    "root",
    "spring",
    "window",
    "garden",
    "frost",
    "seed",
    "clay",
    "bark",
    "rain",
    "stone",
    "river",
    "cloud",
    "lamp",
    "paper",
    "copper",
    "violin",
    "harbor",
    "engine",
    "ticket",
    "bread",
    "winter",
    "mirror",
)
MODES = ("stored", "on-demand", "off")
N = 60
_QUERY = "fern in the shade of a river"
_SHOWN = 6  # candidates of the search that encodes them

View = dict[str, Any]
"""All that an index shows, as JSON values."""


def words(name: str, n: int) -> str:
    """Return n words, always the same."""
    return " ".join(random.Random(name).choices(WORDS, k=n))


def passages(label: str, numbers: range) -> list[Passage]:
    """Return passages of an index that no other index has."""
    return [
        Passage(
            f"p{i}", f"{label} {words(f'{label}{i}', 7)}", {"n": i, "par": i % 2}, f"doc{i % 5}"
        )
        for i in numbers
    ]


def make(folder: Path, mode: str, label: str, model: M3Model) -> None:
    """Make an index with a history in a folder, and copies of it at other moments.

    `folder/closed` was closed; `folder/open` is a copy from while it was open, as a killed process
    leaves it; `folder/earlier` is a copy from before its last change.
    """
    kb = folder / "closed"
    with M3Index.open(kb, model=model, colbert=mode) as index:
        index.add(passages(f"{label} first", range(N)))
        index.delete([f"p{i}" for i in range(0, N, 9)])
        index.optimize()
        index.save_preset("mine", Preset({"dense": 1.0, "sparse": 0.25}))
    shutil.copytree(kb, folder / "earlier")
    with M3Index.open(kb, model=model) as index:
        index.add(passages(label, range(N // 2, N + 5)))
        index.delete(["p40", "p41"])
        index.search(_QUERY)
        copied(kb, folder / "open")


def copied(source: Path, target: Path) -> None:
    """Copy a folder with its holes and its times."""
    subprocess.run(["cp", "-a", "--sparse=always", str(source), str(target)], check=True)


def view(folder: Path, model: M3Model) -> View:
    """Open an index and return all that it shows."""
    with M3Index.open(folder, model=model, create=False) as index:
        found = sorted(index.passages(), key=lambda p: p.id)
        ids = [p.id for p in found]
        n = len(ids) + 10
        shown: View = {
            "passages": {p.id: [p.text, dict(p.metadata), p.document_id] for p in found},
            "get": [p is not None and p.id for p in index.get([*ids, "none"])],
            "count": [index.count(), index.count({"par": 1}), index.count({"document_id": "doc3"})],
            "filtered": sorted(p.id for p in index.passages({"n": {"gte": 30}})),
            "presets": {name: dict(p.weights) for name, p in index.presets.items()},
            "manifest": [index.manifest.colbert, index.manifest.context, index.channels],
            "scores": {},
        }
        for channel in ("dense", "sparse", "bm25", "colbert"):
            if channel == "colbert" and index.manifest.colbert != "stored":
                continue
            hits = index.search(_QUERY, n, channels=[channel], weights={channel: 1.0}, candidates=n)
            shown["scores"][channel] = {hit.passage.id: float(hit.score) for hit in hits}
        on_demand = index.manifest.colbert == "on-demand"
        hits = index.search(_QUERY, _SHOWN, candidates=_SHOWN if on_demand else n)
        shown["scores"]["all"] = {hit.passage.id: float(hit.score) for hit in hits}
        shown["best"] = [hit.passage.text for hit in hits]
        shown["dense"] = [None if v is None else float(v.sum()) for v in index.dense_vectors(ids)]
    return json.loads(json.dumps(shown))  # type: ignore[no-any-return]  # tuples become lists


_TOLERANCE = {"colbert": 2e-3, "all": 2e-3}


def differences(shown: View, right: View) -> list[str]:
    """Return how a view differs from the right one."""
    found = []
    for name, value in right.items():
        if name == "scores":
            for channel, scores in value.items():
                has = shown["scores"].get(channel, {})
                if has.keys() != scores.keys():
                    differs = sorted(has.keys() ^ scores.keys())[:5]
                    found.append(f"{channel} finds other passages: {differs}")
                    continue
                off = max((abs(has[i] - scores[i]) for i in scores), default=0.0)
                if not off <= _TOLERANCE.get(channel, 1e-4):
                    found.append(f"{channel} scores differ by {off}")
        elif name == "dense":
            if len(value) != len(shown[name]) or any(
                a is None or not abs(a - b) < 1e-4 for a, b in zip(shown[name], value, strict=True)
            ):
                found.append("dense vectors differ")
        elif shown[name] != value:
            found.append(f"{name} differs: {str(shown[name])[:200]}")
    return found


def seen(folder: Path, model: M3Model) -> View:
    """Return the view of an index, {"own": error} or {"raw": traceback}."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            shown = view(folder, model)
        except M3Error as error:
            return {"own": f"{type(error).__name__}: {error}"[:600]}
        except Exception:
            return {"raw": traceback.format_exc()[-3000:]}
    lost = [str(w.message)[:300] for w in caught if issubclass(w.category, DataLossWarning)]
    return {**shown, "warned": lost} if lost else shown


def serve() -> None:
    """Answer requests, one JSON value a line: make or view an index."""
    model = M3Model.load("tiny")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request: Mapping[str, str] = json.loads(line)
        folder = Path(request["folder"])
        answer: View = {}
        if request["do"] == "make":
            make(folder, request["mode"], request["label"], model)
        else:
            answer = seen(folder, model)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


class Viewer:
    """A process with the model that views one index after the other, and may be replaced."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def ask(self, timeout: float, **request: str) -> View | None:
        """Return the answer to a request; None if it took too long or the process died."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.trials.indexes"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            timeout += 60
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], timeout)
        line = process.stdout.readline() if ready else ""
        if line:
            answer: View = json.loads(line)
            return answer
        self.close()
        return None

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


if __name__ == "__main__":
    serve()
