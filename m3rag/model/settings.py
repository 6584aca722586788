"""What a model is asked to do, checked: texts, device, dtype."""

from __future__ import annotations

import torch

from m3rag.errors import InputError
from m3rag.model.linear import has_bfloat16

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def check_text(i: int, text: object) -> None:
    """Refuse what is no text.

    Raises:
        InputError: it names the position.
    """
    if not isinstance(text, str):
        raise InputError(f"texts[{i}] is {type(text).__name__}, not str.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"texts[{i}] has a lone surrogate at character {error.start}: it is not Unicode text. "
            'Read it again with the right encoding, or text.encode(errors="replace").decode().'
        ) from None


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
