"""The exception tree. Every message says what is wrong, where, and what to do.

    MoeeError                     exit status 1
    ├── UsageError                exit status 2: the call itself is wrong
    │   └── SpecError             an EmbeddingSpec that cannot mean anything
    ├── SourceError               a SOURCE that cannot be listed or read as a whole
    ├── ModelError                a checkpoint that cannot become a replica, or must not
    ├── TableError                a table that cannot be created, opened, read or written
    │   ├── TableNotFoundError
    │   ├── NotInTableError       a document, a version, a tag or an index that a table does not have
    │   ├── FingerprintError      vectors of another meaning (promise 4: no silent mixing)
    │   ├── LeaseError            another driver is at work on the table
    │   └── CommitError           a commit that lost its race more often than is plausible
    ├── TopicError                topics that cannot be fitted, read or shown
    ├── RunError                  a job that went wrong as a whole
    └── ClusterError              a Ray cluster that cannot be reached, or refuses
        └── JobError              a job on a cluster that did not end well; with its own exit status

A single bad document raises nothing: it goes to the rejects with its reason (`pipeline.corpus.document_checks`).
"""

from __future__ import annotations

__all__ = [
    "ClusterError",
    "CommitError",
    "FingerprintError",
    "JobError",
    "LeaseError",
    "ModelError",
    "MoeeError",
    "NotInTableError",
    "RunError",
    "SourceError",
    "SpecError",
    "TableError",
    "TableNotFoundError",
    "TopicError",
    "UsageError",
    "first_line",
]


class MoeeError(Exception):
    """Base of all errors that this package raises on purpose; one clear line for people."""

    exit_code = 1


class UsageError(MoeeError):
    """The command or call is wrong as written; nothing was done."""

    exit_code = 2


class SpecError(UsageError):
    """An embedding spec holds a value or a combination of values that has no meaning."""


class SourceError(MoeeError):
    """A SOURCE cannot be listed, or none of it can be read."""


class ModelError(MoeeError):
    """A checkpoint cannot be loaded as a Mixture-of-Experts replica, or failed its load-time checks."""


class TableError(MoeeError):
    """A table cannot be created, opened, read or written."""


class TableNotFoundError(TableError):
    """There is no table at the given place."""


class NotInTableError(TableError):
    """A table does not have the document, the version or the tag that was named, or an index that it takes."""


class FingerprintError(TableError):
    """The vectors in the table and the ones offered were made under different specs or calibrations."""


class LeaseError(TableError):
    """Another driver is at work on the table, or has taken it over."""


class CommitError(TableError):
    """A commit could not be placed on top of the table's history."""


class TopicError(MoeeError):
    """Topics cannot be fitted, read or shown."""


class RunError(MoeeError):
    """A job failed as a whole."""


class ClusterError(MoeeError):
    """A Ray cluster cannot be reached, or refuses."""


class JobError(ClusterError):
    """A job on a cluster did not end well; `status` is the exit status of its command."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.exit_code = status


def first_line(error: BaseException) -> str:
    """The first line of what `error` says; the name of its class where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
