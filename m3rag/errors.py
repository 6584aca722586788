"""Every error that m3rag raises on purpose, in one tree.

    M3Error
    ├── CheckpointError      a folder is not a usable BGE-M3 checkpoint        (also ValueError)
    ├── InputError           what the caller passed cannot be used             (also ValueError)
    │   └── ArgumentError    a class or function has no such argument          (also TypeError)
    ├── ForkError            a model was used in a forked process              (also RuntimeError)
    ├── DocumentError        a file cannot be read as a document               (also ValueError)
    ├── TrainingError        a training run cannot start or continue           (also RuntimeError)
    ├── AnswerError          a language model cannot be reached or used        (also RuntimeError)
    ├── MissingExtraError    an optional dependency is not installed           (also ImportError)
    └── KnowledgeBaseError   an index cannot be opened or used                 (also RuntimeError)
        ├── FormatError      not an index, or one of a newer format
        ├── ModelMismatchError   the index was built by another model
        ├── InUseError       another process has the index open
        └── StorageError     the engine cannot write or read (disk full, …)
            └── ClosedError  a closed model or index was used              (also InputError)

Each message says what was found, with the number, and how to fix it.
"""


class M3Error(Exception):
    """The base of all errors that m3rag raises on purpose."""


class CheckpointError(M3Error, ValueError):
    """A model folder is missing, incomplete or damaged, or has another architecture."""


class InputError(M3Error, ValueError):
    """An argument has the wrong type, is empty, or is out of range."""


class ArgumentError(InputError, TypeError):
    """A class or a function does not have an argument, or needs one that is missing."""


class ForkError(M3Error, RuntimeError):
    """A model was used in a process forked from the one that loaded it."""


class DocumentError(M3Error, ValueError):
    """A file cannot be read as the type of document that its name indicates."""


class TrainingError(M3Error, RuntimeError):
    """A training run diverged, or a folder holds another run than the one to resume."""


class AnswerError(M3Error, RuntimeError):
    """A language model cannot be loaded or reached, failed, or returned nothing."""


class MissingExtraError(M3Error, ImportError):
    """An optional dependency is not installed; the message has the exact pip command."""


class KnowledgeBaseError(M3Error, RuntimeError):
    """The base of all errors of an index."""


class FormatError(KnowledgeBaseError):
    """A folder is not an m3rag index, or was written by a newer m3rag."""


class ModelMismatchError(KnowledgeBaseError):
    """An index was built by another model than the one it is opened with."""


class InUseError(KnowledgeBaseError):
    """Another process has the index open."""


class StorageError(KnowledgeBaseError):
    """The storage engine cannot read or write: the disk is full, or files are damaged."""


class ClosedError(InputError, StorageError):
    """A model or an index was used after it was closed.

    It is also an `InputError` and a `StorageError`, which closed models and closed indexes raised
    before.
    """


class TruncationWarning(UserWarning):
    """A text was longer than the limit, so its end was not encoded."""


class DataLossWarning(UserWarning):
    """A power cut lost changes that were not durable; the message says how many."""


class IncompleteDocumentWarning(UserWarning):
    """A part of a file, such as some pages of a PDF, could not be read; the rest was."""
