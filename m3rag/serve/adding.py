"""Documents in the bodies of requests, as work for a job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile

from m3rag.bases import required
from m3rag.documents import Passage, as_passage
from m3rag.errors import InputError
from m3rag.index import M3Index
from m3rag.index.contents import add_text
from m3rag.index.uploads import Uploaded, add_file, checked_name
from m3rag.limits import shown
from m3rag.progress import Progress
from m3rag.serve.bodies import Body
from m3rag.serve.errors import ServeError

_FIELDS = ("file", "id", "title", "metadata")
_FIELD_BYTES = 1 << 20


class TextBody(Body):
    """A document as text or Markdown."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "notes/pump.md",
                    "title": "The pump",
                    "text": "# Pump\n\nThe pump waters the plants when the soil is dry.",
                    "metadata": {"lang": "en"},
                }
            ]
        }
    )

    id: Annotated[str, Field(description="The document with this id is replaced.")]
    text: str
    title: Annotated[str | None, Field(description="By default the first heading.")] = None
    metadata: Annotated[
        dict[str, Any] | None, Field(description="JSON values, which filters can test.")
    ] = None


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document to add.

    Attributes:
        name: Its id.
        content: The content of a file, or a text.
        title: Its title; None for that of its first heading.
        metadata: Its metadata.
    """

    name: str
    content: bytes | str
    title: str | None
    metadata: Mapping[str, Any]

    def add(self, index: M3Index, progress: Progress) -> dict[str, Any]:
        """Add it to an index, and return what was done as JSON values."""
        if isinstance(self.content, bytes):
            title = {} if self.title is None else {"title": self.title}
            metadata = {**self.metadata, **title}
            done = add_file(
                index, self.content, self.name, metadata=metadata, durable=True, progress=progress
            )
            return done.to_dict()
        passages = add_text(
            index,
            self.content,
            id=self.name,
            title=self.title,
            metadata=self.metadata,
            durable=True,
            progress=progress,
        )
        return Uploaded([self.name], passages=passages).to_dict()


async def received_document(request: Request, index: M3Index, held: Any) -> NewDocument:
    """Return the document in the body of a request, after all checks that take no time.

    Args:
        request: The request.
        index: The index that it is for.
        held: The filter of the caller's key. What it requires of metadata, such as
            `{"tenant": "ann"}`, is added to those of the document.

    Raises:
        InputError: The name or the metadata cannot be stored, or a field is unknown.
        DocumentError: m3rag does not read files of this kind.
        ServeError: The body is neither JSON nor a form.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        new = _of_json(await request.body())
    elif kind == "multipart/form-data":
        new = await _of_form(request)
    else:
        raise ServeError(
            415,
            f"Send a document as JSON, or a file as multipart/form-data, not as {kind or 'nothing'}"
            ".",
            code="unsupported_media_type",
        )
    metadata = {**required(held), **new.metadata}
    checked = as_passage(Passage(new.name, "", metadata, new.name), index.limits)
    return NewDocument(new.name, new.content, new.title, checked.metadata)


def _of_json(content: bytes) -> NewDocument:
    try:
        body = TextBody.model_validate_json(content)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=True)
        raise RequestValidationError(
            [{**one, "loc": ("body", *one["loc"])} for one in errors]
        ) from None
    for name in ("id", "text"):
        if not getattr(body, name).strip():
            raise InputError(f"`{name}` is empty.")
    return NewDocument(body.id, body.text, body.title, body.metadata or {})


async def _of_form(request: Request) -> NewDocument:
    async with request.form(max_files=1, max_fields=8, max_part_size=_FIELD_BYTES) as form:
        if unknown := sorted(form.keys() - set(_FIELDS)):
            raise InputError(
                f"The form has an unknown field {shown(unknown[0])}. Use {', '.join(_FIELDS)}."
            )
        if len(form.multi_items()) > len(form):
            raise InputError("The form has a field twice. Send each once.")
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise InputError("The form has no file. Send one in the field `file`.")
        given = form.get("id") or file.filename
        name = checked_name(given)
        title = form.get("title")
        metadata = _json_object(form.get("metadata"))
        content = await file.read()
    return NewDocument(name, content, title if isinstance(title, str) else None, metadata)


def _json_object(text: object) -> dict[str, Any]:
    """Return the metadata of a form."""
    if text is None:
        return {}
    try:
        values = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise InputError('`metadata` must be a JSON object, such as {"lang": "en"}.')
    return values
