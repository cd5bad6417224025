"""Where bytes come from: fsspec file systems, and the one place that knows how their options are spelled.

Table and corpus are given the same storage options. Lance takes the names of the object_store library
(``aws_access_key_id``), fsspec each its own (``key``); whoever opens a file or a Lance dataset may use either.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote

import fsspec

from pipeline.errors import MoeeError, SourceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

__all__ = [
    "filesystem",
    "fsspec_errors",
    "is_local",
    "lance_uri",
    "local_path",
    "object_store_options",
    "open_binary",
]

_EXTRAS: Final = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}
_LANCE_SCHEMES: Final = {"s3a": "s3", "gcs": "gs", "abfs": "az"}

_OBJECT_STORE_NAMES: Final[Mapping[str, Mapping[str, str]]] = {
    "s3": {
        "aws_access_key_id": "key",
        "access_key_id": "key",
        "aws_secret_access_key": "secret",
        "secret_access_key": "secret",
        "aws_session_token": "token",
        "aws_token": "token",
        "session_token": "token",
        "aws_endpoint": "endpoint_url",
        "aws_endpoint_url": "endpoint_url",
        "endpoint": "endpoint_url",
        "aws_region": "region",
        "region_name": "region",
        "aws_default_region": "region",
        "default_region": "region",
        "aws_skip_signature": "anon",
        "skip_signature": "anon",
    },
    "gcs": {
        "google_service_account": "token",
        "service_account": "token",
        "google_application_credentials": "token",
    },
    "azure": {
        "azure_storage_account_name": "account_name",
        "azure_storage_account_key": "account_key",
        "azure_storage_sas_key": "sas_token",
        "azure_storage_sas_token": "sas_token",
        "azure_storage_client_id": "client_id",
        "azure_storage_client_secret": "client_secret",
        "azure_storage_tenant_id": "tenant_id",
    },
}
"""object_store's names of options → fsspec's; other names pass as they are."""

_FSSPEC_NAMES: Final[Mapping[str, Mapping[str, str]]] = {
    "s3": {
        "key": "aws_access_key_id",
        "secret": "aws_secret_access_key",
        "token": "aws_session_token",
        "endpoint_url": "aws_endpoint",
        "aws_endpoint_url": "aws_endpoint",
        "endpoint": "aws_endpoint",
        "region": "aws_region",
        "region_name": "aws_region",
        "anon": "aws_skip_signature",
    },
    "gcs": {"token": "google_service_account", "endpoint_url": "google_storage_endpoint"},
    "azure": {
        "account_name": "azure_storage_account_name",
        "account_key": "azure_storage_account_key",
        "sas_token": "azure_storage_sas_token",
        "tenant_id": "azure_storage_tenant_id",
        "client_id": "azure_storage_client_id",
        "client_secret": "azure_storage_client_secret",
    },
}
"""fsspec's names of options → object_store's; other names pass as they are."""

_ONLY_FOR_HUB: Final = {"hf_token": "token", "hf_endpoint": "endpoint"}
"""The hub is given nothing else: a token or endpoint without prefix is that of the table's storage."""
_NOT_FOR_FSSPEC: Final = {"allow_http", "aws_allow_http", "aws_virtual_hosted_style_request", "timeout"}


def _scheme(url: str) -> str:
    return url.split("://", 1)[0].lower() if "://" in url else "file"


def is_local(url: str) -> bool:
    """Whether `url` is a path of this machine, with or without ``file://``."""
    return _scheme(url) in {"file", "local"}


def local_path(url: str) -> str:
    """The path behind a local URL or path."""
    return url.split("://", 1)[1] if "://" in url else url


def lance_uri(uri: str) -> str:
    """What Lance calls `uri`: a path of this machine, or a URL with the one scheme that Lance knows the storage by.

    Lance takes escapes and marks in a URL for syntax: a name that holds them is escaped.
    """
    if is_local(uri):
        return local_path(uri)
    scheme = _scheme(uri)
    return f"{_LANCE_SCHEMES.get(scheme, scheme)}://{quote(uri.split('://', 1)[1], safe='/:@')}"


def object_store_options(uri: str, storage_options: Mapping[str, Any] | None = None) -> dict[str, str]:
    """`storage_options`, named as fsspec or as object_store names them, as object_store takes them.

    Environment variables are read by Lance itself; only ``AWS_ENDPOINT_URL`` (and ``AWS_ENDPOINT_URL_S3``) of plain
    http need help, because object_store refuses http unless told otherwise.

    Raises:
        UsageError: an option holds a structure that object_store has no name for.
    """
    if is_local(uri):
        return {}
    scheme = _scheme(uri)
    given = dict(storage_options or {})
    if scheme == "hf":
        given = {name: value for name, value in given.items() if name in _ONLY_FOR_HUB}
    given.update(given.pop("client_kwargs", None) or {})
    names = _FSSPEC_NAMES.get(_EXTRAS.get(scheme, ""), {})
    options: dict[str, str] = {}
    for name, value in given.items():
        if value is None:
            continue
        if not isinstance(value, str | int | float):
            raise UsageError(f"storage option {name!r} holds a {type(value).__name__}: give text, a number or a flag")
        canonical = names.get(name.lower(), name.lower())
        options[canonical] = str(value).lower() if isinstance(value, bool) else str(value)
    if _EXTRAS.get(scheme) == "s3":
        _complete_endpoint(options)
    return options


def _complete_endpoint(options: dict[str, str]) -> None:
    environment = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    endpoint = options.get("aws_endpoint") or environment
    if endpoint:
        options["aws_endpoint"] = endpoint
        if endpoint.startswith("http://"):
            options.setdefault("allow_http", "true")


def _fsspec_options(scheme: str, storage_options: Mapping[str, Any] | None) -> dict[str, Any]:
    if not storage_options or scheme in {"file", "local", "memory"}:
        return {}
    if scheme == "hf":
        return {_ONLY_FOR_HUB[name]: value for name, value in storage_options.items() if name in _ONLY_FOR_HUB}
    names = _OBJECT_STORE_NAMES.get(_EXTRAS.get(scheme, ""), {})
    options = {
        names.get(name.lower(), name): value
        for name, value in storage_options.items()
        if name.lower() not in _NOT_FOR_FSSPEC
    }
    if _EXTRAS.get(scheme) == "s3" and "region" in options:
        region = options.pop("region")
        options["client_kwargs"] = {"region_name": region, **options.get("client_kwargs", {})}
    if "anon" in options:
        options["anon"] = str(options["anon"]).lower() in {"true", "1", "yes"}
    return options


@contextmanager
def fsspec_errors(problem: str, raised: type[MoeeError] = SourceError) -> Generator[None]:
    """What fails inside becomes ``raised("PROBLEM: CLASS: MESSAGE")``; a `raised` passes as it is.

    Storage clients raise classes of their own, so any class is meant. A caller to whom a missing file is an answer
    catches FileNotFoundError inside.
    """
    try:
        yield
    except raised:
        raise
    except MoeeError as error:
        raise raised(f"{problem}: {error}") from error
    except Exception as error:
        raise raised(f"{problem}: {type(error).__name__}: {error}") from error


def filesystem(url: str, storage_options: Mapping[str, Any] | None) -> tuple[Any, str]:
    """The fsspec file system of `url`, and the path of `url` in it.

    What follows the scheme is a name, whatever is in it: ``::`` is no chain of file systems, ``%20`` no space.

    Raises:
        SourceError: the scheme is unknown, its driver is not installed, or it refuses the options.
    """
    scheme = _scheme(url)
    with fsspec_errors(f"{url}: cannot be reached"):
        try:
            # As fsspec.core.url_to_fs, which takes more than the scheme for syntax.
            kind = cast("Any", fsspec.get_filesystem_class(scheme))
            in_url = kind._get_kwargs_from_urls(url)  # noqa: SLF001 — a host or a user, for whoever implements a storage
            options = _fsspec_options(scheme, storage_options)
            return kind(**{**in_url, **options}), kind._strip_protocol(url)  # noqa: SLF001
        except ImportError as error:
            extra = _EXTRAS.get(scheme)
            hint = f"pip install 'moee-pipeline[{extra}]'" if extra else f"install the fsspec driver of {scheme}://"
            raise SourceError(f"{url}: no driver for {scheme}:// here; {hint}") from error


def open_binary(uri: str, storage_options: Mapping[str, Any] | None) -> IO[bytes]:
    """Open for reading.

    Raises:
        SourceError: the file cannot be opened.
    """
    with fsspec_errors(f"{uri}: cannot be opened"):
        if is_local(uri):
            return Path(local_path(uri)).open("rb")
        fs, path = filesystem(uri, storage_options)
        return cast("IO[bytes]", fs.open(path, "rb"))
