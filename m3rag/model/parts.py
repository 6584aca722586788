"""Find the files of a model folder that hold tensors, and check what they say about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from m3rag.errors import CheckpointError
from m3rag.model.modelfiles import exists, read_json, shard, shortened
from m3rag.model.pickled import TensorInfo
from m3rag.model.weights import TensorFile, check_floats, inspect

HEADS = ("sparse_linear", "colbert_linear")
"""The names of the two heads, each a file."""

CLASSIFIER = ("classifier.dense", "classifier.out_proj")
"""The names of the two matrices of a cross-encoder's head."""

PREFIX = "roberta."
"""What stands before the names of the encoder's tensors in a cross-encoder's files."""

_ENCODER_FILES = ("model.safetensors", "pytorch_model.bin")
_INDEX_BYTES = 16 << 20
_MAX_SHARDS = 1000
_MAX_COLBERT = 1 << 16  # dimensions of a ColBERT vector


def find_encoder(folder: Path) -> list[TensorFile]:
    """Describe the encoder's files, each without the tensors that M3 does not use.

    Raises:
        CheckpointError: There are none, they are damaged, or they do not fit together; or they are
            those of a cross-encoder.
    """
    files = _find_weights(folder)
    if _have_classifier(files):
        raise CheckpointError(
            f"{folder} is a cross-encoder: it scores pairs of texts and has no vectors. Load it "
            "with M3CrossEncoder.load."
        )
    return files


def find_cross_encoder(folder: Path) -> list[TensorFile]:
    """Describe the files of a cross-encoder, each without the tensors that it does not use.

    Raises:
        CheckpointError: There are none, they are damaged, or they do not fit together; or they have
            no head for scores.
    """
    files = _find_weights(folder, PREFIX)
    if _have_classifier(files):
        return files
    if any(exists(folder / f"{head}.pt") for head in HEADS):
        raise CheckpointError(
            f"{folder} is an M3 model: it encodes texts and does not score pairs. Load it with "
            "M3Model.load, or make a cross-encoder of it with m3rag train --cross-encoder."
        )
    raise CheckpointError(
        f"{folder} has no head: none of its tensors begins with classifier., so its scores would "
        "be random. Take a model that was trained to rerank, such as BAAI/bge-reranker-v2-m3."
    )


def is_cross_encoder(folder: Path) -> bool:
    """Return whether the weights of a folder have the head of a cross-encoder.

    Raises:
        CheckpointError: There are none, they are damaged, or they do not fit together.
    """
    return _have_classifier(_find_weights(folder))


def _have_classifier(files: Iterable[TensorFile]) -> bool:
    return any(name.startswith("classifier.") for file in files for name in file.infos)


def _find_weights(folder: Path, prefix: str = "") -> list[TensorFile]:
    """Describe the files of weights, each without the tensors that no model here uses."""
    for name in _ENCODER_FILES:
        path, index = folder / name, folder / f"{name}.index.json"
        if exists(index):
            files = _find_shards(folder, index, Path(name).suffix)
        elif exists(path):
            files = [inspect(path)]
        else:
            continue
        return [TensorFile(path, _used(infos, prefix)) for path, infos in files]
    names = " nor ".join(_ENCODER_FILES)
    raise CheckpointError(f"{folder} has no weights: neither {names} exists.")


def _find_shards(folder: Path, index: Path, suffix: str) -> list[TensorFile]:
    """Describe the shards that an index file names, each with the tensors it is to provide."""
    content = read_json(index, _INDEX_BYTES)
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places:
        raise CheckpointError(
            f"{index} has no weight_map, which says where each tensor is. Download the file again."
        )
    tensors: dict[Path, list[str]] = {}
    paths: dict[object, Path] = {}
    for tensor, name in places.items():
        if not isinstance(name, str) or name not in paths:
            if len(paths) >= _MAX_SHARDS:
                raise CheckpointError(f"{index} names more than {_MAX_SHARDS:,} shards.")
            path = shard(folder, name, suffix, index)
            paths[name] = path
        tensors.setdefault(paths[name], []).append(tensor)
    files = []
    for path, names in sorted(tensors.items()):
        infos = inspect(path).infos
        for tensor in names:
            if tensor not in infos:
                raise CheckpointError(
                    f"{index} says that {shortened(tensor)} is in {path.name}, which does not have "
                    "it. The files belong to different models; download the whole checkpoint."
                )
        if left := sorted(infos.keys() - set(names)):
            raise CheckpointError(
                f"{path} has {len(left):,} tensors that {index.name} does not name, such as "
                f"{shortened(left[0])}. The files belong to different models; download the whole "
                "checkpoint."
            )
        files.append(TensorFile(path, infos))
    return files


def _used(infos: Mapping[str, TensorInfo], prefix: str) -> dict[str, TensorInfo]:
    # Some exports include the pooler and the position buffer, which are not used here.
    unused = (f"{prefix}pooler.", f"{prefix}embeddings.position_ids")
    return {name: info for name, info in infos.items() if not name.startswith(unused)}


def find_head(folder: Path, head: str, hidden: int) -> TensorFile:
    """Describe the file of a head.

    Args:
        folder: The model folder.
        head: The name of the head.
        hidden: The width of the encoder.

    Raises:
        CheckpointError: It is missing, damaged, or of the wrong shape.
    """
    path = folder / f"{head}.pt"
    if not exists(path):
        raise CheckpointError(
            f"{folder} has no {path.name}: without this head, its view would be random. A "
            "dense-only fine-tune does not save the heads; train all three views."
        )
    found = inspect(path)
    if set(found.infos) != {"weight", "bias"}:
        names = shortened(sorted(found.infos))
        raise CheckpointError(f"{path} contains {names}; expected weight and bias.")
    check_floats(path, found.infos)
    weight, bias = (found.infos[name].shape for name in ("weight", "bias"))
    rows = 1 if head == "sparse_linear" or not weight else weight[0]
    if weight != (rows, hidden) or bias != (rows,) or not 1 <= rows <= _MAX_COLBERT:
        raise CheckpointError(
            f"{path} has a weight of shape {shortened(weight)} and a bias of shape "
            f"{shortened(bias)}; this model needs ({rows}, {hidden}) and ({rows},)."
        )
    return found
