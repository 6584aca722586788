"""Keep an index in step with a folder of documents.

The state of a document is stored in its passages: each holds a hash of the file (the stamp) and
the number of passages of the file. A document is complete if all its passages are stored with the
same stamp. An interrupted run therefore resumes by itself, and no second record can go stale.

What cannot be read is reported and stops nothing. The passages that the index has of it stay: a
folder that is not mounted now, or a file that is being replaced, is no deleted document.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path

from m3rag.documents import Document, split
from m3rag.documents.formats.content import ALL_FIELDS, Budget, Fields
from m3rag.documents.reading import budget_for
from m3rag.documents.splitting import SpanTokenizer, usual_overlap
from m3rag.errors import InputError
from m3rag.index.changes import Changes
from m3rag.index.index import M3Index
from m3rag.index.listing import documents_in, list_data, list_folder
from m3rag.index.plan import Plan, make_plan
from m3rag.index.run import Run
from m3rag.index.source import Source
from m3rag.index.stamps import Stamps
from m3rag.index.stored_files import StoredFile, move, name_copies, stored_files
from m3rag.limits import DEFAULT_LIMITS, Limits
from m3rag.progress import Progress, silent

__all__ = ["Changes", "documents_in", "sync"]


def sync(
    index: M3Index,
    folder: str | Path,
    tokenizer: SpanTokenizer,
    *,
    max_tokens: int | None = None,
    overlap: int | None = None,
    exclude: Sequence[str] = (),
    follow_links: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    fields: Fields = ALL_FIELDS,
    encoding: str | None = None,
    ocr: str | None = None,
    data: bytes | None = None,
    stamps: Stamps | None = None,
    progress: Progress | None = None,
) -> Changes:
    """Add new documents to an index, replace changed ones, remove deleted ones, skip the rest.

    Document ids are `<folder name>/<path in the folder>`. Only documents of this folder are ever
    removed, so several folders can share an index as long as their names differ. A file in a file,
    such as an attachment, is a document with the id of that file, "/" and its name; the changes
    count the outer file only. A single file has its name as its id.

    A document whose file was renamed or moved keeps its vectors. Files with the same content and
    suffix are stored once; "copies" in the metadata of the passages names the others.

    Args:
        index: The index to update.
        folder: The folder of documents, including its subfolders; or one file.
        tokenizer: The model's tokenizer.
        max_tokens: See `m3rag.split`; the length that suits the model by default. A different
            value indexes all documents again.
        overlap: See `m3rag.split`; a different value indexes all documents again.
        exclude: See `m3rag.documents.scan`. Documents that a new pattern excludes are removed.
        follow_links: Whether to follow symbolic links to folders, and to files outside the folder.
        limits: How large a document may be, and how long reading it may take.
        fields: Which fields of the records of .csv, .json and .jsonl files are read; other ones
            index all documents again.
        encoding: See `m3rag.read`; another one indexes all documents again.
        ocr: See `m3rag.read`; other languages index all documents again. Only with them are images
            documents.
        data: The content of one document that is in no file; `folder` is then its name, such as
            "report.pdf".
        stamps: What an earlier call with the same options has found, and this one adds to: a file
            that has not changed since is not read again.
        progress: Called with (stage, done, total) once passages are durable. The stages are
            "indexing", in bytes of the files to index, and "passages", with the total None.

    Raises:
        DocumentError: The folder does not exist or cannot be listed, or neither it nor the index
            has documents of it.
        InputError: An argument cannot be used, the folder's name is not Unicode, or the index holds
            a different folder of the same name.
    """
    max_tokens = index.model.passage_tokens if max_tokens is None else max_tokens
    overlap = usual_overlap(max_tokens) if overlap is None else overlap
    split(Document("", ""), tokenizer, max_tokens=max_tokens, overlap=overlap)  # errors only once
    budget = budget_for(limits, fields, encoding, ocr)
    if data is None:
        listed = list_folder(
            folder, exclude=exclude, follow_links=follow_links, limits=limits, ocr=ocr
        )
    elif exclude:
        raise InputError("`exclude` is for folders, not for data. Leave it out.")
    else:
        listed = list_data(folder, data, limits)
    stored = stored_files(index, listed.name, listed.root)
    if not listed.files and not stored:
        raise listed.nothing()
    settings = _settings(max_tokens, overlap, budget)
    source = Source(listed.files, listed.within, budget, settings, stamps or Stamps())
    found = {document: source.stamp(document) for document in listed.files}
    before = {name for document, file in stored.items() for name in (document, *file.copies)}
    away = {name for name in before - found.keys() if listed.failed(name)}
    plan = make_plan({document: stamp for document, (stamp, _) in found.items()}, stored, away)
    changes = listed.changes
    changes.removed = sorted(before - found.keys() - away)
    _rearrange(index, plan, stored, found.keys(), changes)
    sizes = {document: found[document][1] for document in plan.read}
    run = Run(listed.root, source, sizes, plan.copies, changes, progress or silent)
    with closing(run.passages(tokenizer, max_tokens, overlap)) as passages:
        index.add(passages, progress=run.stored)
    run.finish(index, stored, before)
    places = {document: place for place, document in enumerate(found)}
    for documents in (changes.added, changes.replaced, changes.unchanged):
        documents.sort(key=places.__getitem__)
    return changes


def _settings(max_tokens: int, overlap: int, budget: Budget) -> str:
    """Return the settings of reading and splitting: with other ones, all is indexed again."""
    settings = f"{max_tokens} {overlap} "
    settings += f"{budget.fields} " if budget.fields != ALL_FIELDS else ""
    settings += f"{budget.encoding} " if budget.encoding is not None else ""
    return settings + (f"ocr {budget.ocr} " if budget.ocr is not None else "")


def _rearrange(
    index: M3Index,
    plan: Plan,
    stored: dict[str, StoredFile],
    files: Collection[str],
    changes: Changes,
) -> None:
    """Do all that needs no reading: delete, rename, and name copies; `stored` is kept in step."""
    before = set(stored)
    copies = {name for file in stored.values() for name in file.copies}
    for document in plan.stale:
        index.delete(sorted(stored.pop(document).ids))
    for old, new in plan.moves:
        try:
            move(index, old, new, stored[old], plan.copies[new])
        except InputError as error:  # a new id is too long, for example
            changes.failed[new] = str(error)
            changes.removed = [document for document in changes.removed if document != old]
            continue
        del stored[old]
        if new in files and new in copies:
            changes.unchanged.append(new)
        elif new in before:
            changes.replaced.append(new)
        elif new in files and old in files:
            changes.added.append(new)
        elif new in files:
            changes.renamed[old] = new
        _note_copies(plan, new, files, changes)
    for document in plan.kept:
        name_copies(index, stored[document], plan.copies[document])
        if document in files:
            changes.unchanged.append(document)
        _note_copies(plan, document, files, changes)
    changes.removed = [document for document in changes.removed if document not in changes.renamed]


def _note_copies(plan: Plan, document: str, files: Collection[str], changes: Changes) -> None:
    copies = (copy for copy in plan.copies[document] if copy in files)
    changes.duplicates |= dict.fromkeys(copies, document)
