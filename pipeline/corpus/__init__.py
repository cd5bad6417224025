"""From sources to documents: files are listed, cut into slices, read, checked. No Ray, no model, no table in here."""

from __future__ import annotations

from pipeline.corpus.dialect import AskedDialect
from pipeline.corpus.document_checks import check, documents_schema
from pipeline.corpus.kept_columns import keep_schema
from pipeline.corpus.planner import Taper, plan
from pipeline.corpus.readers import ReaderOptions, resolve_columns
from pipeline.corpus.reading import DocumentBatch, read_slices, read_unit
from pipeline.corpus.slices import FileRecord, Slice, UnitPart, WorkUnit, slice_id, slice_ids
from pipeline.corpus.source_file import SourceFile
from pipeline.corpus.sources import list_sources

__all__ = [
    "AskedDialect",
    "DocumentBatch",
    "FileRecord",
    "ReaderOptions",
    "Slice",
    "SourceFile",
    "Taper",
    "UnitPart",
    "WorkUnit",
    "check",
    "documents_schema",
    "keep_schema",
    "list_sources",
    "plan",
    "read_slices",
    "read_unit",
    "resolve_columns",
    "slice_id",
    "slice_ids",
]
