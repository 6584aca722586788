"""Reading files as documents, and splitting documents into passages along their structure.

What reads files is imported on first use: an index is opened without it.
"""

from typing import TYPE_CHECKING

from m3rag.documents.document import (
    Document,
    Heading,
    Metadata,
    Passage,
    as_passage,
    check_passage,
    passage_from_dict,
    passage_to_dict,
)
from m3rag.documents.sentences import sentences
from m3rag.documents.splitting import split
from m3rag.documents.statements import statements
from m3rag.extras import lazy

if TYPE_CHECKING:
    from m3rag.documents.formats.content import Fields
    from m3rag.documents.reading import find, read, read_all
    from m3rag.documents.scanning import Listing, scan

__all__ = [
    "Document",
    "Fields",
    "Heading",
    "Listing",
    "Metadata",
    "Passage",
    "as_passage",
    "check_passage",
    "find",
    "passage_from_dict",
    "passage_to_dict",
    "read",
    "read_all",
    "scan",
    "sentences",
    "split",
    "statements",
]

__getattr__ = lazy(
    __name__,
    {
        "Fields": "m3rag.documents.formats.content",
        "Listing": "m3rag.documents.scanning",
        "find": "m3rag.documents.reading",
        "read": "m3rag.documents.reading",
        "read_all": "m3rag.documents.reading",
        "scan": "m3rag.documents.scanning",
    },
)
