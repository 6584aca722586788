"""XML from outside: parsed without entities of other files, without the network, within limits."""

from __future__ import annotations

import re
from html.entities import name2codepoint
from typing import Any

from lxml import etree

from m3rag.errors import DocumentError
from m3rag.limits import brief

_ENTITY = re.compile(rb"&([A-Za-z][A-Za-z0-9]*);")
_UNDECLARED = (etree.ErrorTypes.ERR_UNDECLARED_ENTITY, etree.ErrorTypes.WAR_UNDECLARED_ENTITY)
_OWN = (b"amp", b"lt", b"gt", b"quot", b"apos")  # XML's own entities


def parse_xml(data: bytes) -> Any:
    """Return the root element of an XML file.

    libxml2 itself limits the depth, the length of a text, and how much entities may grow. Entities
    of other files are not read; those of HTML, which many files take from their DTD, are known.

    Raises:
        DocumentError: It is not well-formed.
    """
    try:
        return _parsed(data)
    except etree.XMLSyntaxError as error:
        if error.code not in _UNDECLARED:
            raise _damaged(error) from error
    try:
        return _parsed(_ENTITY.sub(_number, data))
    except etree.XMLSyntaxError as error:
        raise _damaged(error) from error


def _parsed(data: bytes) -> Any:
    parser = etree.XMLParser(resolve_entities="internal", no_network=True, load_dtd=False)
    return etree.fromstring(data, parser)


def _number(entity: re.Match[bytes]) -> bytes:
    """Return an entity of HTML as the number of its character, and any other as it is."""
    code = name2codepoint.get(entity[1].decode())
    return entity[0] if code is None or entity[1] in _OWN else b"&#%d;" % code


def _damaged(error: etree.XMLSyntaxError) -> DocumentError:
    return DocumentError(
        f"it is damaged: {brief(error.msg).rstrip('., ')}. Open it in the program that created it "
        "and save it again."
    )


def local(element: Any) -> str:
    """Return the name of an element without its namespace; "" for comments and the like."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def attribute(element: Any, name: str) -> str | None:
    """Return an attribute of an element by its name without a namespace; None if there is none."""
    for key, value in element.attrib.items():
        if key.rpartition("}")[2] == name:
            return str(value)
    return None


def line_of(element: Any) -> str:
    """Return the text in an element as one line, without comments and instructions."""
    return " ".join("".join(element.itertext()).split())


def descendants(element: Any, *names: str) -> list[Any]:
    """Return the elements with one of some names in an element, in the order of the file."""
    return [found for found in element.iter() if local(found) in names]
