"""Where bytes come from: fsspec file systems, and the one place that knows how their options are spelled.

Table and corpus are given the same storage options. Lance takes the names of the object_store library
(``aws_access_key_id``), fsspec each its own (``key``); whoever opens a file here may use either.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

import fsspec
import fsspec.core

from pipeline.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["filesystem", "is_local", "local_path", "open_binary"]

_EXTRAS: Final = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}

_OBJECT_STORE_NAMES: Final[Mapping[str, Mapping[str, str]]] = {
    "s3": {
        "aws_access_key_id": "key",
        "aws_secret_access_key": "secret",
        "aws_session_token": "token",
        "aws_endpoint": "endpoint_url",
        "aws_endpoint_url": "endpoint_url",
        "endpoint": "endpoint_url",
        "aws_region": "region",
        "aws_default_region": "region",
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
        "azure_storage_client_id": "client_id",
        "azure_storage_client_secret": "client_secret",
        "azure_storage_tenant_id": "tenant_id",
    },
}
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
    return options


def filesystem(url: str, storage_options: Mapping[str, Any] | None) -> tuple[Any, str]:
    """The fsspec file system of `url`, and the path of `url` in it.

    Raises:
        SourceError: the scheme is unknown, its driver is not installed, or it refuses the options.
    """
    scheme = _scheme(url)
    try:
        fs, path = cast("tuple[Any, str]", fsspec.core.url_to_fs(url, **_fsspec_options(scheme, storage_options)))
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        hint = f"pip install 'moee-pipeline[{extra}]'" if extra else f"install the fsspec driver of {scheme}://"
        raise SourceError(f"{url}: no driver for {scheme}:// here; {hint}") from error
    except Exception as error:  # storage clients raise classes of their own
        raise SourceError(f"{url}: cannot be reached: {type(error).__name__}: {error}") from error
    return fs, path


def open_binary(uri: str, storage_options: Mapping[str, Any] | None) -> IO[bytes]:
    """Open for reading.

    Raises:
        SourceError: the file cannot be opened.
    """
    try:
        if is_local(uri):
            return Path(local_path(uri)).open("rb")
        fs, path = filesystem(uri, storage_options)
        return cast("IO[bytes]", fs.open(path, "rb"))
    except SourceError:
        raise
    except Exception as error:  # storage clients raise classes of their own
        raise SourceError(f"{uri}: cannot be opened: {type(error).__name__}: {error}") from error
