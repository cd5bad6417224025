"""The thin wall between this package and Lance: open, create and read, with errors that people can read.

Lance reports trouble as OSError, ValueError or RuntimeError whose text runs over several lines and ends in a place
in its own source; here it becomes one line of `TableError`.

LanceDB itself is imported where it is used: it takes longer (1.7 s) than all else that a worker needs together.
"""

from __future__ import annotations

import os
import re
import socket
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import lance
import pyarrow as pa
from lance import Session  # pyright: ignore[reportPrivateImportUsage] — documented as a name of this package
from lance.file import LanceFileSession

from pipeline.errors import MoeeError, TableError, TableNotFoundError

if TYPE_CHECKING:
    from collections.abc import Generator

    import pyarrow.compute as pc

    from pipeline.table.location import TableLocation

__all__ = [
    "Session",
    "create_dataset",
    "data_files",
    "existing_dataset",
    "open_dataset",
    "read_all",
    "refuse_unwritable",
    "storage_errors",
    "table_names",
]

_RUST_PLACE: Final = re.compile(r",?\s*/\S+\.rs:\d+(:\d+)?|Encountered internal error\. Please file a bug report.*")
_NOISE: Final = re.compile(r"^(LanceError\(\w+\): |Generic \w+ error: |Error performing \w+ request: )+")
_ABSENT: Final = re.compile(r"was not found|Table .* not found|not found: .*_versions", re.IGNORECASE)
_NO_KEYS: Final = re.compile(r"Failed to get AWS credentials|CredentialsNotLoaded")
_XML: Final = re.compile(r"<Message>(.*?)</Message>")
_MAX_REASON: Final = 300


_lance_dataset: Any = import_module("lance.dataset")  # the package has a function of that name
_needs_placeholder = _lance_dataset._needs_substrait_placeholder  # noqa: SLF001


def _has_no_substrait(kind: pa.DataType) -> bool:
    """Whether Substrait, in which Lance is told of expressions and of all columns beside them, has no such type.

    Lance leaves such columns out, but for these: one in a table, and no expression could be asked of any other column.
    """
    if pa.types.is_duration(kind) or pa.types.is_time64(kind) or pa.types.is_decimal256(kind):
        return True
    if pa.types.is_large_list(kind) or _needs_placeholder(kind):
        return True
    return any(_has_no_substrait(kind.field(index).type) for index in range(kind.num_fields))


# There is no other way in: Lance takes expressions as they are, or SQL, in which a thousand ids are slow to read.
_lance_dataset._needs_substrait_placeholder = _has_no_substrait  # noqa: SLF001


@contextmanager
def storage_errors(action: str, place: TableLocation | lance.LanceDataset) -> Generator[None]:
    """Turn what Lance raises inside the block into one clear line.

    Raises:
        TableError: "cannot ACTION PLACE: reason".
    """
    try:
        yield
    except MoeeError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        name = place.uri.removesuffix(".lance") if isinstance(place, lance.LanceDataset) else place
        raise TableError(f"cannot {action} {name}: {short_reason(error)}") from error


def short_reason(error: BaseException) -> str:
    """The first line of what Lance says, without its own source places."""
    text = str(error)
    if _NO_KEYS.search(text):
        return (
            f"no AWS credentials on {socket.gethostname()}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY there "
            "(on a cluster: on every node) or give --storage-option"
        )
    message = _XML.search(text)
    lines = _RUST_PLACE.sub("", text).strip().splitlines()
    first = _NOISE.sub("", lines[0]).strip() if lines else type(error).__name__
    reason = f"{first.split(': <?xml')[0]} ({message.group(1)})" if message else first
    return reason[:_MAX_REASON]


def open_dataset(location: TableLocation, session: Session | None = None) -> lance.LanceDataset | None:
    """The newest version of the dataset, or None where there is none.

    Args:
        location: where it is.
        session: of the dataset as it was opened before: what was read of its indexes is not read again. A search among
            100k × 1,024 vectors takes 9 ms then, and 43 ms otherwise. None: a new one, which may come to hold 7 GiB.

    Raises:
        TableError: the storage cannot be reached or the dataset cannot be read.
    """
    with storage_errors("open", location):
        try:
            return lance.dataset(location.uri, storage_options=_options(location), session=session)
        except (ValueError, OSError) as error:
            if _ABSENT.search(str(error)):
                return None
            raise


def existing_dataset(location: TableLocation, session: Session | None = None) -> lance.LanceDataset:
    """The newest version of a dataset that must be there; arguments as in `open_dataset`.

    Raises:
        TableNotFoundError: it is not, or not any more.
        TableError: as in `open_dataset`.
    """
    dataset = open_dataset(location, session)
    if dataset is None:
        raise TableNotFoundError(f"there is no table {location}, or not any more")
    return dataset


def create_dataset(location: TableLocation, schema: pa.Schema) -> tuple[lance.LanceDataset, bool]:
    """Create an empty dataset, or open the one that is there: the first to create wins.

    Returns:
        The dataset, and whether this call created it.

    Raises:
        TableError: nothing can be written there.
    """
    found = open_dataset(location)
    if found is not None:
        return found, False
    with storage_errors("create", location):
        try:
            # Not write_dataset(mode="create"): in 17 of 60 races a second creator overwrote the first; here in none.
            created = lance.LanceDataset.commit(
                location.uri,
                lance.LanceOperation.Overwrite(schema, []),
                read_version=0,
                max_retries=0,
                storage_options=_options(location),
            )
        except OSError:
            found = open_dataset(location)
            if found is None:
                raise
            return found, False
    return created, True


def refuse_unwritable(location: TableLocation) -> None:
    """Find out before an hour of work that a local directory cannot be written; nothing is made.

    Raises:
        TableError: files cannot be made there. Object storage is not asked: its answer comes with the first write.
    """
    if not location.is_local:
        return
    directory = Path(location.directory)
    nearest = next(path for path in (directory, *directory.parents) if path.exists())
    if not nearest.is_dir():
        raise TableError(f"cannot write to {location}: {nearest} is not a directory")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise TableError(f"cannot write to {location}: no permission to write in {nearest}")


def read_all(location: TableLocation, schema: pa.Schema, filter: pc.Expression | None = None) -> pa.Table:  # noqa: A002
    """All rows of a companion, or an empty table of `schema` where it does not exist yet.

    Columns that it lacks, because it was made by an older version of this package, are null.
    """
    dataset = open_dataset(location)
    if dataset is None:
        return schema.empty_table()
    there = [name for name in schema.names if name in dataset.schema.names]
    with storage_errors("read", location):
        found = dataset.to_table(columns=there, filter=filter)
    for field in schema:
        if field.name not in there:
            found = found.append_column(field, pa.nulls(found.num_rows, field.type))
    return found.select(schema.names)


def data_files(location: TableLocation) -> LanceFileSession:
    """The folder of a table's data files."""
    return LanceFileSession(f"{location.uri}/data", storage_options=dict(location.options))


def table_names(location: TableLocation) -> list[str]:
    """The tables in the location's directory, companions included; nothing is created."""
    if location.is_local and not Path(location.directory).is_dir():
        return []
    import lancedb

    with storage_errors("list", location):
        connection: Any = lancedb.connect(location.directory, storage_options=_options(location))
        names: list[str] = []
        token: str | None = None
        while True:
            page = connection.list_tables(page_token=token)
            names += cast("list[str]", page.tables)
            token = page.page_token
            if not token:
                return sorted(names)


def _options(location: TableLocation) -> dict[str, str] | None:
    return dict(location.options) or None
