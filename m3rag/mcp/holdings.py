"""What one caller sees of the knowledge bases."""

from __future__ import annotations

from dataclasses import dataclass

from m3rag.bases import KnowledgeBases, NoSuchBaseError, within
from m3rag.errors import InputError
from m3rag.index.contents import WholeDocument, document
from m3rag.index.index import M3Index
from m3rag.limits import shown
from m3rag.mcp.access import Access


@dataclass(frozen=True, slots=True)
class Holdings:
    """The knowledge bases of a caller.

    Every id starts with the name of its knowledge base; see `m3rag.mcp.names`.

    Attributes:
        bases: All knowledge bases.
        access: What the caller may do.
    """

    bases: KnowledgeBases
    access: Access

    @property
    def names(self) -> list[str]:
        """The names of the caller's knowledge bases."""
        return [name for name in self.bases.names if self.access.allows(name)]

    def index(self, base: str) -> M3Index:
        """Return a knowledge base, held to the caller's filter.

        Raises:
            NoSuchBaseError: There is none of this name, or none for the caller.
        """
        if base not in self.names:
            raise NoSuchBaseError(f"There is no knowledge base {shown(base)}. {self._known()}")
        return within(self.bases.get(base), self.access.filter)

    def one(self, base: str | None) -> str:
        """Return the name of a knowledge base; the only one for None.

        Raises:
            InputError: There are several, or none.
        """
        if base is not None or len(self.names) == 1:
            return self.names[0] if base is None else base
        raise InputError(f"Say which knowledge base to use. {self._known()}")

    def split(self, id: str) -> tuple[str, str]:
        """Return the knowledge base of an id, and the id in it.

        Raises:
            InputError: The id does not start with a knowledge base.
        """
        base, sign, name = id.partition("/")
        if not (sign and name):
            raise InputError(
                f'The id {shown(id)} must start with a knowledge base and "/". {self._known()}'
            )
        return base, name

    def find(self, id: str) -> tuple[str, WholeDocument, int | None]:
        """Return the knowledge base and the document of an id, and the position of its passage.

        The position is None if the id is that of a document.

        Raises:
            InputError: There is no such document or passage.
        """
        base, name = self.split(id)
        index = self.index(base)
        [passage] = index.get([name])
        if passage is not None and (whole := document(index, passage.document_id or name)):
            return base, whole, whole.position(name)
        if whole := document(index, name):
            return base, whole, None
        raise InputError(
            f"There is no document or passage {shown(id)}. Use an id that search or "
            "list_documents returned."
        )

    def _known(self) -> str:
        return f"There are: {', '.join(self.names) or 'none'}."
