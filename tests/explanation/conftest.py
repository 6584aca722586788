"""The indexes of `tests/index`."""

from tests.index.conftest import index, own, place

__all__ = ["index", "own", "place"]
