"""The choice of device, dtype and kernels: all decisions that depend on the machine."""

from __future__ import annotations

import functools
import os
import platform

import torch

from m3rag.errors import InputError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# Tokens per pass. On a CPU, a larger pass does not speed up the products of BGE-M3, and its memory
# is returned to the system each time, which took a tenth of the time. With AMX, the products are so
# fast that reading the weights, once per pass, is the bottleneck (benchmarks/speed-notes.md).
CPU_TOKENS = 1024
AMX_TOKENS = 2048
GPU_TOKENS = 32768

# The operations of a narrow model are short, so its threads would often wait for each other. Each
# thread therefore encodes a share of the texts alone (benchmarks/speed-notes.md).
NARROW = 512  # dimensions of the widest encoder of which threads encode shares
SHARE_TOKENS = 2048  # of each thread in a pass; with fewer, shares are less equal
_LEAST_SHARE = 32  # tokens; a thread takes no longer for them than two together

_WITHOUT_BFLOAT16 = (
    *("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2"),
    *("AVX512_CORE", "AVX512_CORE_VNNI"),
)


def choose_device(device: str | torch.device) -> torch.device:
    """Return the device for a name or "auto".

    Raises:
        InputError: There is no such device.
    """
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if isinstance(device, bool) or not isinstance(device, str | int | torch.device):
        raise InputError(
            f'`device` must be a name such as "auto", "cpu" or "cuda", got {type(device).__name__}.'
        )
    try:
        chosen = torch.device(device)
    except (RuntimeError, ValueError, OverflowError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise InputError(f"There is no device {str(device)[:100]!r}: {reason}") from error
    available = _available()
    wrapped = isinstance(device, str) and ":" in device and device != str(chosen)  # 256 becomes 0
    if wrapped or not 0 <= (chosen.index or 0) < available.get(chosen.type, 0):
        names = [str(torch.device(kind, i)) for kind, n in available.items() for i in range(n)]
        names[0] = "cpu"
        raise InputError(
            f"There is no device {str(device)[:100]!r} here. This installation of torch "
            f"({torch.__version__}) finds: {', '.join(names)}."
        )
    return chosen


def _available() -> dict[str, int]:
    """Return the number of devices of each type that torch can use, without initialising them."""
    counts = {"cpu": 1}
    for kind in ("cuda", "xpu"):
        module = getattr(torch, kind, None)
        if module is not None and module.is_available():
            counts[kind] = module.device_count()
    if torch.backends.mps.is_available():
        counts["mps"] = 1
    accelerator = torch.accelerator.current_accelerator()  # such as npu or hpu
    if accelerator is not None and accelerator.type not in counts:
        counts[accelerator.type] = torch.accelerator.device_count()
    return counts


def choose_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """Return the dtype for a name or "auto" on a device.

    Raises:
        InputError: There is no such dtype, or the device only emulates it.
    """
    if isinstance(dtype, str) and dtype == "auto":
        if device.type == "cuda":
            return torch.float16
        return torch.bfloat16 if device.type == "cpu" and has_bfloat16() else torch.float32
    known = isinstance(dtype, str | torch.dtype)
    chosen = _DTYPES.get(str(dtype).removeprefix("torch.")) if known else None
    if chosen is None:
        raise InputError(
            f'`dtype` must be "auto", "float32", "bfloat16" or "float16", got {str(dtype)[:100]!r}.'
        )
    if chosen == torch.float16 and device.type == "cpu":
        raise InputError('float16 is only emulated on a CPU. Use "float32" or "bfloat16".')
    return chosen


def pass_tokens(device: torch.device, width: int) -> int:
    """Return the number of tokens per pass that is fastest for an encoder of `width` dimensions."""
    if device.type != "cpu":
        return GPU_TOKENS
    least = AMX_TOKENS if has_amx() else CPU_TOKENS
    return max(least, SHARE_TOKENS * torch.get_num_threads()) if width <= NARROW else least


def share_count(tokens: int, longest: int, width: int) -> int:
    """Return into how many shares to divide a pass on a CPU, each for a thread that works alone.

    Args:
        tokens: The tokens of the pass.
        longest: The tokens of its longest unit, which cannot be divided.
        width: The width of the encoder.

    Returns:
        The number of shares; 0 if all threads should compute the pass together.
    """
    threads = torch.get_num_threads()
    if width > NARROW or threads == 1:
        return 0
    if tokens < 2 * _LEAST_SHARE:
        return 1
    count = min(threads, tokens // max(_LEAST_SHARE, longest))
    return count if count > 1 else 0


def filler_tokens(tokens: int, device: torch.device) -> int:
    """Return how many tokens to add to a packed row of `tokens`.

    On a CPU, oneDNN compiles its matrix product for each number of rows and keeps about a megabyte
    for each (measured: 350 MB after 300 row counts). Rounding up leaves about fifty row counts. The
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


@functools.cache
def attention_by_products(dtype: torch.dtype) -> bool:
    """Return whether attention over texts of a passage's length is faster in separate operations.

    PyTorch's own attention multiplies small blocks of bfloat16 with MKL, which on AMD takes longer
    than in float32.
    """
    return dtype == torch.bfloat16 and packable(dtype) and not has_amx()


def packs_weights(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether a network on this device computes with weights packed for oneDNN."""
    return device.type == "cpu" and packable(dtype)


def training_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """Return the dtype that training computes in; float16 would need scaled losses.

    Raises:
        InputError: The dtype is unknown, or the device only emulates it.
    """
    chosen = choose_dtype(dtype, device)
    if chosen == torch.float16:
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return chosen


def packable(dtype: torch.dtype) -> bool:
    """Return whether oneDNN takes packed weights of this dtype on this machine."""
    if platform.machine() not in ("x86_64", "AMD64") or not torch._C._has_mkldnn:
        return False
    bfloat16 = dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return dtype == torch.float32 or bool(bfloat16)


def has_amx() -> bool:
    """Return whether oneDNN multiplies with AMX on this machine."""
    isa = _max_isa()
    return torch.cpu._is_amx_tile_supported() and (isa in ("", "ALL", "DEFAULT") or "AMX" in isa)


def has_bfloat16() -> bool:
    """Return whether oneDNN multiplies bfloat16 in hardware: with AMX or AVX512-BF16.

    Elsewhere bfloat16 is slow.
    """
    supported = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return supported and _max_isa() not in _WITHOUT_BFLOAT16


def _max_isa() -> str:
    """Return the instruction set to which oneDNN's variable limits it, "" for no limit."""
    return os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
