"""Read the tensors of a file: first their names, dtypes and shapes, then their values.

The descriptions are checked before any value is read, so the memory that a model takes is bounded
by the bytes in its files. Files are mapped into memory where the format allows it.
"""

from __future__ import annotations

import errno
import io
import os
import struct
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from m3rag.errors import CheckpointError
from m3rag.model.modelfiles import clipped, opened, shortened, size_of, system_error
from m3rag.model.pickled import Description, PickleError, TensorInfo, tensors

_HEADER_BYTES = 8 << 20  # of a safetensors file; that of BGE-M3 has 40 KB
_PICKLE_BYTES = 1 << 20  # of a state dict without its numbers; that of BGE-M3 has 60 KB
_DIRECTORY_BYTES = 4 << 20  # of a zip archive's directory
_SPARSE_BYTES = 64 << 20  # files from this size on are checked for holes
_MAX_EXTENTS = 10_000

_FLOATS = ("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
_SAFE_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_SAFE_DTYPES |= {"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
_SAFE_DTYPES |= {"BOOL": "bool", "I64": "int64", "I32": "int32", "I8": "int8", "U8": "uint8"}

# The five pickles in front of the numbers in files of torch.save before 1.6.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001


class TensorFile(NamedTuple):
    """A file of tensors, with what it says about them."""

    path: Path
    infos: Mapping[str, TensorInfo]


def inspect(path: Path) -> TensorFile:
    """Return what a `.safetensors`, `.bin` or `.pt` file says about its tensors.

    Raises:
        CheckpointError: The file is damaged, has other content than tensors, would expand to more
            memory than the file has bytes, or cannot be read.
    """
    size = size_of(path)
    with _damage(path):
        with os.fdopen(opened(path), "rb") as file:
            _check_holes(file, size)
            if path.suffix == ".safetensors":
                _check_header(file, size)
            elif _is_zip(file):
                infos = dict(_zip_infos(file, size))
            else:
                infos = dict(_legacy_infos(file, size))
        if path.suffix == ".safetensors":
            infos = dict(_safetensors_infos(path))
        total = sum(info.nbytes for info in infos.values())
        if total > size:
            raise PickleError(f"its tensors would expand to {total:,} bytes; it has {size:,}")
    return TensorFile(path, infos)


def check_floats(path: Path, infos: Mapping[str, TensorInfo]) -> None:
    """Check that tensors are plain floating-point ones.

    Raises:
        CheckpointError: One is not; the message has its name and dtype.
    """
    for name, info in infos.items():
        if info.dtype not in _FLOATS:
            raise CheckpointError(
                f"{path}: the tensor {shortened(name)} is {info.dtype}. Export the checkpoint with "
                f"one of the dtypes {', '.join(_FLOATS)}."
            )


def load(path: Path, names: Iterable[str]) -> dict[str, Tensor]:
    """Return tensors of a file that `inspect` has described.

    Raises:
        CheckpointError: The file is damaged or cannot be read.
    """
    size_of(path)
    with _damage(path):
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as safe:
                return {name: _aligned(safe.get_tensor(name)) for name in names}
        with os.fdopen(opened(path), "rb") as file:
            if _is_zip(file) and _has_plain_name(path):
                found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            else:
                file.seek(0)
                found = torch.load(file, map_location="cpu", weights_only=True)
        return {name: _aligned(found[name].detach()) for name in names}


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn every exception of a reader into a `CheckpointError` that has its true cause."""
    try:
        yield
    except CheckpointError:
        raise
    except PickleError as error:
        raise CheckpointError(
            f"{path} cannot be read: {clipped(error)}. The file is damaged, or was made to do "
            "harm; download it again from a source that you trust."
        ) from error
    except Exception as error:  # a damaged file can make the readers raise any exception
        if own := system_error(path, error):
            raise own from error
        raise CheckpointError(
            f"{path} cannot be read ({type(error).__name__}: {clipped(error)}). The file is "
            "damaged or incomplete; download it again."
        ) from error


def _aligned(tensor: Tensor) -> Tensor:
    """Return a tensor whose numbers begin at a multiple of their size, in the usual order."""
    sound = tensor.data_ptr() % tensor.element_size() == 0
    return tensor.contiguous() if sound else tensor.clone(memory_format=torch.contiguous_format)


def _has_plain_name(path: Path) -> bool:
    """Return whether torch can map the file: its C++ code takes only names in UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_holes(file: IO[bytes], size: int) -> None:
    """Refuse a large file of which less than half was ever written: it would read as zeros."""
    if size < _SPARSE_BYTES or not hasattr(os, "SEEK_DATA"):
        return
    written = end = 0
    try:
        for _ in range(_MAX_EXTENTS):
            start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            written += end - start
        return  # so many parts are those of a file system that compresses
    except OSError as error:
        if error.errno != errno.ENXIO:  # there is data after `end`, or the system cannot tell
            return
    finally:
        file.seek(0)
    if written < size // 2:
        raise PickleError(f"only {written:,} of its {size:,} bytes were ever written")


def _check_header(file: IO[bytes], size: int) -> None:
    head = file.read(8)
    length = int.from_bytes(head, "little")
    if len(head) < 8 or length > min(size - 8, _HEADER_BYTES):
        raise PickleError(
            f"its header claims {length:,} bytes; the file has {size:,}, and a header at most "
            f"{_HEADER_BYTES:,}"
        )


def _safetensors_infos(path: Path) -> Iterator[tuple[str, TensorInfo]]:
    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118  # a file of safetensors is not iterable
            part = file.get_slice(name)
            dtype = str(part.get_dtype())
            yield name, TensorInfo(_SAFE_DTYPES.get(dtype, dtype), tuple(part.get_shape()))


def _is_zip(file: IO[bytes]) -> bool:
    """Return whether the file is a zip archive, by the same rule as torch."""
    file.seek(0)
    start = file.read(4)
    file.seek(0)
    return start == b"PK\x03\x04"


def _zip_infos(file: IO[bytes], size: int) -> Iterator[tuple[str, TensorInfo]]:
    _check_directory(file, size)
    with zipfile.ZipFile(file) as archive:
        records: dict[str, int] = {}
        for record in archive.infolist():
            name = record.filename.lower()  # torch's reader ignores the case
            if record.compress_type != zipfile.ZIP_STORED or record.flag_bits & 1:
                raise PickleError(
                    f"its record {shortened(record.filename)} is compressed from "
                    f"{record.file_size:,} to {record.compress_size:,} bytes; torch.save never "
                    "compresses"
                )
            if record.file_size != record.compress_size or name in records:
                raise PickleError(f"its record {shortened(record.filename)} is there twice")
            records[name] = record.file_size
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1 or archive.getinfo(pickles[0]).file_size > _PICKLE_BYTES:
            raise PickleError("it has no data.pkl of a state dict")
        described = Description()
        value = described.value(io.BytesIO(archive.read(pickles[0])))
    root = pickles[0].removesuffix("data.pkl")
    for key, storage in described.storages.items():
        _check_storage(key, storage.nbytes, records.get(f"{root}data/{key}".lower(), -1))
    yield from tensors(value)


def _check_storage(key: str, needed: int, found: int) -> None:
    if found < needed:
        place = "is missing" if found < 0 else f"has {found:,} bytes"
        raise PickleError(f"its record {shortened(key)} {place}, and {needed:,} are needed")


def _check_directory(file: IO[bytes], size: int) -> None:
    """Check that a zip archive has one directory, at its end, where every reader looks for it."""
    file.seek(max(0, size - 98))
    tail = file.read(98)
    if size < 22 or tail[-22:-18] != b"PK\x05\x06" or tail[-2:] != b"\0\0":
        raise PickleError("its end is missing")
    length, start = struct.unpack("<LL", tail[-10:-2])
    end = size - 22
    if tail[-42:-38] == b"PK\x06\x07":  # the zip64 format, which torch.save writes
        end = size - 98
        if tail[:4] != b"PK\x06\x06" or struct.unpack("<Q", tail[-34:-26])[0] != end:
            raise PickleError("its directory is damaged")
        length, start = struct.unpack("<QQ", tail[40:56])
    if start + length != end or length > _DIRECTORY_BYTES:
        raise PickleError("its directory is damaged")
    file.seek(0)


def _legacy_infos(file: IO[bytes], size: int) -> Iterator[tuple[str, TensorInfo]]:
    """Describe a file of torch.save before 1.6: five pickles, then the numbers."""
    start = io.BytesIO(file.read(_PICKLE_BYTES))
    described = Description()
    magic, protocol, _system = (described.value(start) for _ in range(3))
    if (magic, protocol) != (_LEGACY_MAGIC, _LEGACY_PROTOCOL):
        raise PickleError("it is not a file of torch.save")
    value, keys = described.value(start), described.value(start)
    if type(keys) is not list or not all(type(key) is str for key in keys):
        raise PickleError("its list of storages is damaged")
    if sorted(keys) != sorted(described.storages):
        raise PickleError("its list of storages is not complete")
    needed = start.tell() + sum(8 + described.storages[key].nbytes for key in keys)
    if needed > size:
        raise PickleError(f"it has {size:,} bytes, and {needed:,} are needed")
    yield from tensors(value)
