"""Imports on demand: optional dependencies, and names that packages import on first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

from m3rag.errors import MissingExtraError


def require(module: str, extra: str) -> None:
    """Check that an optional dependency can be imported.

    Raises:
        MissingExtraError: It is not installed; the message has the exact pip command.
    """
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise  # the module is installed, but one of its own dependencies is not
        raise MissingExtraError(
            f'{module} is not installed. Install it: pip install "m3rag[{extra}]"'
        ) from None


def lazy(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """Return a module-level `__getattr__` that imports names from their modules on first use.

    Args:
        package: The `__name__` of the package that exports the names.
        homes: The module that defines each name.
    """

    def get(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return get
