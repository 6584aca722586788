"""Which device, dtype and kernels to use: all decisions that depend on the machine."""

from __future__ import annotations

import functools
import os
import platform

import torch

from m3rag.errors import InputError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# Tokens in a pass. On a CPU, a larger pass does not speed up the products of BGE-M3, and its memory
# goes back to the system each time, which took a tenth of the time. With AMX the products are so
# fast that reading the weights, once a pass, is the bottleneck (benchmarks/speed-notes.md).
CPU_TOKENS = 1024
AMX_TOKENS = 2048
GPU_TOKENS = 32768

_WITHOUT_BFLOAT16 = (
    *("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2"),
    *("AVX512_CORE", "AVX512_CORE_VNNI"),
)


def choose_device(device: str | torch.device) -> torch.device:
    """The device that "auto" or a name means.

    Raises:
        InputError: there is no such device.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise InputError(f"There is no device {device!r}: {error}") from error


def choose_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """The dtype that "auto" or a name means on a device.

    Raises:
        InputError: there is no such dtype, or the device only emulates it.
    """
    if dtype == "auto":
        if device.type == "cuda":
            return torch.float16
        return torch.bfloat16 if device.type == "cpu" and has_bfloat16() else torch.float32
    chosen = _DTYPES.get(str(dtype).removeprefix("torch."))
    if chosen is None:
        raise InputError(f'dtype={dtype!r}: choose "auto", {", ".join(map(repr, _DTYPES))}.')
    if chosen == torch.float16 and device.type == "cpu":
        raise InputError('float16 is emulated on a CPU: use "float32" or "bfloat16".')
    return chosen


def pass_tokens(device: torch.device) -> int:
    """Return the number of tokens in a pass that is fastest on a device."""
    if device.type != "cpu":
        return GPU_TOKENS
    return AMX_TOKENS if has_amx() else CPU_TOKENS


def filler_tokens(tokens: int, device: torch.device) -> int:
    """Return how many tokens to add to a packed row of `tokens`.

    On a CPU, oneDNN compiles its matrix product for each number of rows and keeps about a megabyte
    for each (measured: 350 MB after 300 row counts). Rounding up leaves some fifty row counts. The
    multiplication unit takes 16 rows at a time, so the first of these tokens cost nothing.
    """
    if device.type != "cpu":
        return 0
    return -tokens % (16 if tokens <= 256 else 64)


@functools.cache
def attention_by_onednn(dtype: torch.dtype) -> bool:
    """Return whether attention over long texts is faster with products by oneDNN.

    PyTorch's own attention multiplies with MKL, which on AMD runs at less than half of oneDNN's
    rate. With AMX, PyTorch's own is faster.
    """
    return packable(torch.float32) and packable(dtype) and not has_amx()


def packable(dtype: torch.dtype) -> bool:
    """Whether oneDNN takes packed weights of this type here."""
    if platform.machine() not in ("x86_64", "AMD64") or not torch._C._has_mkldnn:
        return False
    bfloat16 = dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return dtype == torch.float32 or bool(bfloat16)


def has_amx() -> bool:
    """Whether oneDNN multiplies with AMX here."""
    held = _held_to()
    return torch.cpu._is_amx_tile_supported() and (held in ("", "ALL", "DEFAULT") or "AMX" in held)


def has_bfloat16() -> bool:
    """Whether oneDNN multiplies bfloat16 in hardware, by AMX or AVX512-BF16; else it is slow."""
    here = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return here and _held_to() not in _WITHOUT_BFLOAT16


def _held_to() -> str:
    """The instructions to which oneDNN's own variable holds it, "" for all of the CPU."""
    return os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
