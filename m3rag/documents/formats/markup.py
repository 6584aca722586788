"""XML from outside: parsed without entities of other files, without the network, within limits."""

from __future__ import annotations

from typing import Any

from lxml import etree

from m3rag.errors import DocumentError


def parse_xml(data: bytes) -> Any:
    """Return the root element of an XML file.

    libxml2 itself limits the depth, the length of a text, and how much entities may grow.

    Raises:
        DocumentError: It is not well-formed.
    """
    parser = etree.XMLParser(resolve_entities="internal", no_network=True, load_dtd=False)
    try:
        return etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        reason = error.msg.rstrip("., ")
        raise DocumentError(
            f"it is damaged: {reason}. Open it in the program that created it and save it again."
        ) from error


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


def descendants(element: Any, *names: str) -> list[Any]:
    """Return the elements with one of some names in an element, in the order of the file."""
    return [found for found in element.iter() if local(found) in names]
