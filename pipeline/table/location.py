"""Where a table is: ``DIRECTORY/NAME``, local or in object storage, so that plain LanceDB opens it too.

    lancedb.connect(location.directory).open_table(location.name)

The dataset lies at ``DIRECTORY/NAME.lance``; companions are tables beside it, ``NAME.rejects`` and so on.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["COMPANIONS", "TableLocation", "object_store_options"]

COMPANIONS: Final = (
    "calibration",
    "files",
    "journal",
    "lease",
    "rejects",
    "runs",
    "topic_models",
    "topics",
    "topic_assignments",
    "topic_events",
)

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")

_FSSPEC_NAMES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "s3": {
            "key": "aws_access_key_id",
            "secret": "aws_secret_access_key",
            "token": "aws_session_token",
            "endpoint_url": "aws_endpoint",
            "region": "aws_region",
            "region_name": "aws_region",
            "anon": "aws_skip_signature",
        },
        "gs": {"token": "google_service_account", "endpoint_url": "google_storage_endpoint"},
        "az": {
            "account_name": "azure_storage_account_name",
            "account_key": "azure_storage_account_key",
            "sas_token": "azure_storage_sas_token",
            "tenant_id": "azure_storage_tenant_id",
            "client_id": "azure_storage_client_id",
            "client_secret": "azure_storage_client_secret",
        },
    }
)
"""fsspec's names of options → object_store's, which Lance takes; other names pass as they are."""

_SAME_SCHEME: Final = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az"}


@dataclass(frozen=True, slots=True)
class TableLocation:
    """A directory (absolute path or URL, no trailing slash), a name in it, and how to reach it."""

    directory: str
    name: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """object_store's options for `directory`; out of the repr because they may hold secrets."""

    @classmethod
    def parse(
        cls, uri: str | os.PathLike[str] | TableLocation, storage_options: Mapping[str, Any] | None = None
    ) -> TableLocation:
        """Read ``DIRECTORY/NAME`` (``.lance`` may follow) or its URL form; relative paths become absolute.

        Raises:
            UsageError: `uri` has no usable table name, or asks for an option that cannot be passed on.
        """
        if isinstance(uri, TableLocation):
            return uri if storage_options is None else cls.parse(str(uri), storage_options)
        text = os.fspath(uri).rstrip("/")
        directory, _, name = text.rpartition("/")
        name = name.removesuffix(".lance")
        if not _NAME.match(name) or directory.endswith(":/"):
            raise UsageError(
                f"{os.fspath(uri)!r} names no table: write DIRECTORY/NAME, NAME in letters, digits, '_', '-' and '.'"
            )
        if text.startswith("/") and not directory:
            directory = "/"
        directory = _canonical_directory(directory)
        return cls(directory, name, object_store_options(directory, storage_options))

    @property
    def uri(self) -> str:
        """Where Lance finds the dataset."""
        return f"{self.directory.rstrip('/')}/{self.name}.lance"

    @property
    def is_local(self) -> bool:
        """Whether the directory is a path of this machine."""
        return "://" not in self.directory

    def sibling(self, suffix: str) -> TableLocation:
        """The companion ``NAME.suffix`` in the same directory."""
        return TableLocation(self.directory, f"{self.name}.{suffix}", self.options)

    def __str__(self) -> str:
        return f"{self.directory.rstrip('/')}/{self.name}"


def _canonical_directory(directory: str) -> str:
    if "://" not in directory:
        return str(Path(directory or ".").expanduser().absolute())
    parts = urlsplit(directory)
    if parts.scheme == "file":
        return str(Path(unquote(parts.path)).absolute())
    return directory


def object_store_options(uri: str, storage_options: Mapping[str, Any] | None = None) -> dict[str, str]:
    """`storage_options`, named as fsspec or as object_store names them, as object_store takes them.

    Environment variables are read by Lance itself; only ``AWS_ENDPOINT_URL`` (and ``AWS_ENDPOINT_URL_S3``) of plain
    http need help, because object_store refuses http unless told otherwise.

    Raises:
        UsageError: an option holds a structure that object_store has no name for.
    """
    if "://" not in uri:
        return {}
    scheme = urlsplit(uri).scheme
    scheme = _SAME_SCHEME.get(scheme, scheme)
    given = dict(storage_options or {})
    given.update(given.pop("client_kwargs", None) or {})
    names = _FSSPEC_NAMES.get(scheme, {})
    options: dict[str, str] = {}
    for name, value in given.items():
        if value is None:
            continue
        if not isinstance(value, str | int | float):
            raise UsageError(f"storage option {name!r} holds a {type(value).__name__}: give text, a number or a flag")
        options[names.get(name, name)] = str(value).lower() if isinstance(value, bool) else str(value)
    if scheme == "s3":
        _complete_endpoint(options)
    return options


def _complete_endpoint(options: dict[str, str]) -> None:
    environment = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    endpoint = options.get("aws_endpoint") or options.get("endpoint") or environment
    if endpoint:
        options.setdefault("aws_endpoint", endpoint)
        if endpoint.startswith("http://"):
            options.setdefault("allow_http", "true")
