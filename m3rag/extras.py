"""Optional dependencies: one sentence for what is missing."""

from __future__ import annotations

from importlib import import_module

from m3rag.errors import MissingExtraError


def require(module: str, extra: str) -> None:
    """Check that an optional dependency can be imported.

    Raises:
        MissingExtraError: it is not installed; the message has the exact pip line.
    """
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):  # it is there, and lacks something itself
            raise
        raise MissingExtraError(
            f'{module} is not installed. Install it: pip install "m3rag[{extra}]"'
        ) from None
