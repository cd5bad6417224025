"""How a job runs; none of it changes what the vectors mean."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 — pydantic asks for it
from typing import TYPE_CHECKING, Annotated, Any, Final, Self, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from pipeline.corpus import AskedDialect, ReaderOptions
from pipeline.embedding.chunks import Chunking
from pipeline.errors import UsageError
from pipeline.flow.engines.base import Replicas
from pipeline.flow.max_rejects import MaxRejects
from pipeline.table.schema import CHUNKS, refuse_column_name

if TYPE_CHECKING:
    from pipeline.table import VectorTable

__all__ = ["SLICE_ROWS", "EmbedOptions"]

SLICE_ROWS: Final = 256
"""Rows in a slice, the ledger's unit, fixed in a table when it is made: 8 bytes of memory for each slice."""

CHUNKED_SLICE_ROWS: Final = 32
"""The same where rows become chunks: documents are long then, and each gives many rows of the table."""

ENGINES: Final = ("auto", "ray", "local")


def _known_engine(given: Any) -> Any:
    if isinstance(given, str) and given not in ENGINES:
        raise UsageError(f"engine={given!r}: {', '.join(ENGINES[:-1])} or {ENGINES[-1]}")
    return given


def _columns(given: Any) -> Any:
    return (given,) if isinstance(given, str) else given


class EmbedOptions(BaseModel):
    """How an `embed` runs.

    Raises:
        UsageError: a value that cannot be meant, or a field that is not there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    text: str | None = None
    """The column of the input that holds the texts; None: found by name."""
    id: str | None = None
    """The column that holds the ids; None: found by name, or derived from file and row, as for ""."""
    keep: Annotated[tuple[str, ...], BeforeValidator(_columns)] = ()
    """Metadata columns to keep."""
    delimiter: str | None = None
    """What separates the cells of CSV and TSV files; None: found out for each file."""
    quoting: str | None = None
    """How quotation marks stand in their quoted cells: ``double``, ``backslash``, ``none``; None: found out."""
    encoding: str | None = None
    """Of text without a byte order mark (CSV, TSV, JSON lines, text files); None: UTF-8."""
    limit: int | None = Field(None, ge=1)
    """Stop after about that many rows of input, rounded up to whole slices."""
    chunk: Annotated[Chunking | None, BeforeValidator(Chunking.parse)] = None
    """``WINDOW`` or ``WINDOW:OVERLAP`` in tokens, into which documents are split; None: as the table has it, else texts
    are cut at the spec's limit."""
    engine: Annotated[Any, BeforeValidator(_known_engine)] = "auto"
    """``ray``, ``local`` (processes of this machine), ``auto`` (`pipeline.flow.engines.choice`), or an `Engine`."""
    replicas: Annotated[Replicas | None, BeforeValidator(Replicas.parse)] = None
    """``N``, ``MIN:MAX``; None: one for each GPU, or a single one on CPUs."""
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    start_minutes: float = Field(15.0, ge=0)
    """For which a cluster may take to give the replicas their room."""
    with_text: bool = True
    """Store the texts."""
    storage_options: Mapping[str, Any] | None = Field(None, repr=False)
    prune: bool = False
    """Remove what the table has of files below the sources that are gone."""
    dedup: bool = False
    """Take vectors over from documents of the table with the same text."""
    drop_duplicates: bool = False
    """Reject documents whose text the table has."""
    max_rejects: Annotated[MaxRejects, BeforeValidator(MaxRejects.parse)] = MaxRejects()
    """Stop when a run rejects more than that many rows of its input, ``N`` or ``P%``."""
    retry_rejects: bool = False
    """Try those rejected documents again whose reason can pass."""
    index: bool = True
    """Bring the indexes that the table has up to date once all is committed."""
    wait: float = Field(0.0, ge=0)
    """Seconds to wait for another driver that is at work on the table."""
    commit_rows: int = 65_536
    """Rows after which a commit is made."""
    commit_seconds: float = 10.0
    """Seconds after which a commit is made."""

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise UsageError(_said(error)) from error

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Self:
        _ = self.dialect
        for name in self.keep:
            refuse_column_name(name)
        taken = sorted({*self.keep} & {*CHUNKS.names}) if self.chunk else []
        if taken:
            raise UsageError(f"column {taken[0]!r} cannot be kept: chunks have a column of that name of their own")
        if (self.dedup or self.drop_duplicates) and not self.with_text:
            raise UsageError("texts cannot be compared with those of a table that stores none: leave --no-text out")
        if self.drop_duplicates and self.chunk:
            raise UsageError("--drop-duplicates compares whole texts, which a table of chunks does not hold")
        return self

    @property
    def dialect(self) -> AskedDialect:
        """What is said of how text is written.

        Raises:
            UsageError: there is no such delimiter, quoting or encoding.
        """
        return AskedDialect(self.delimiter, cast("Any", self.quoting), self.encoding)

    @property
    def reader(self) -> ReaderOptions:
        """The reader's options."""
        slice_rows = SLICE_ROWS if self.chunk is None else CHUNKED_SLICE_ROWS
        return ReaderOptions(text=self.text, id=self.id, keep=self.keep, slice_rows=slice_rows)

    def fixed_by(self, table: VectorTable) -> Self:
        """These options with the chunking of the table.

        Raises:
            UsageError: another one was asked for.
        """
        fixed = Chunking.parse(table.reader.get("chunk"))
        if self.chunk is not None and self.chunk != fixed:
            made = "without chunks" if fixed is None else f"with chunks of {fixed}"
            raise UsageError(f"--chunk {self.chunk}: {table.location} was made {made}, which is fixed")
        return self.model_copy(update={"chunk": fixed})


_WORDS: Final = {
    "limit": "at least one row",
    "wait": "seconds, at least 0",
    "start_minutes": "minutes, at least 0",
    "device": "auto, cpu, cuda or cuda:N",
}
"""What can be meant, where pydantic's own words would not say it well."""


def _said(error: ValidationError) -> str:
    first = error.errors()[0]
    field = str(first["loc"][0]) if first["loc"] else "options"
    if first["type"] == "extra_forbidden":
        return f"{field}: there is no such option; there are: {', '.join(EmbedOptions.model_fields)}"
    if field == "storage_options":
        return f"{field}: {first['msg']}"  # what was given may hold keys
    return f"{field}={first['input']!r}: {_WORDS.get(field, first['msg'])}"
