"""In which dialect each file is read: as asked for, as it was read before, or as its beginning shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline.corpus.dialect import DELIMITED, ENCODED, AskedDialect, Dialect, dialect_of, with_dialect
from pipeline.corpus.formats.delimited.sniffing import sniff
from pipeline.prefetch import map_ahead

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from pipeline.corpus.source_file import SourceFile

__all__ = ["settle_dialects", "unusual_dialects"]


def settle_dialects(
    files: Sequence[SourceFile],
    asked: AskedDialect,
    begun: Collection[tuple[str, str]] = (),
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> list[SourceFile]:
    """The same files, each with the dialect in which it is read.

    Args:
        files: as they were listed.
        asked: what a person says of them.
        begun: (uri, version) of files that were read before. One of the same content is read in the same dialect again
            and not opened, unless another one is asked for.
        storage_options: for remote files.

    Raises:
        SourceError: a storage failed.
    """
    before: dict[str, list[str]] = {}
    for uri, version in begun:
        before.setdefault(uri, []).append(version)
    known = {file.uri: _known(file, asked, before.get(file.uri, ())) for file in files}
    unknown = [file for file in files if known[file.uri] is None]
    found = dict(map_ahead(lambda file: with_dialect(file, sniff(file, asked, storage_options)), unknown))
    return [known[file.uri] or found[file] for file in files]


def unusual_dialects(files: Iterable[SourceFile]) -> dict[str, int]:
    """Dialect in words → how many of `files` are read in it, without the usual ones of their formats."""
    return dict(Counter(str(dialect_of(file)) for file in files if file.dialect))


def _known(file: SourceFile, asked: AskedDialect, versions: Sequence[str]) -> SourceFile | None:
    """`file` with its dialect; None: it must be opened to find out."""
    if file.format in DELIMITED:
        return next((made for made in _made(file, versions) if _is_as_asked(made, asked)), None)
    if file.format in ENCODED:
        return with_dialect(file, AskedDialect(encoding=asked.encoding).over(Dialect.usual(file.format)))
    return file


def _made(file: SourceFile, versions: Sequence[str]) -> list[SourceFile]:
    """`file` as in those of `versions` that have its content."""
    beginning = f"{file.version} "
    same = [version for version in versions if version == file.version or version.startswith(beginning)]
    return [replace(file, version=version, dialect=version.removeprefix(file.version).lstrip()) for version in same]


def _is_as_asked(file: SourceFile, asked: AskedDialect) -> bool:
    dialect = dialect_of(file)
    return asked.over(dialect) == dialect
