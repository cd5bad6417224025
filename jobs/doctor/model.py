"""The model: is it to be had, does its architecture work, is it whole, is there room for it; nothing is downloaded."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jobs.doctor.finding import Finding, ok, size
from pipeline.errors import ModelError
from pipeline.flow.engines.devices import count_gpus
from pipeline.models.checkpoints import HUB_FILES, TOKENIZER_FILES, local_directory
from pipeline.models.families import REFUSED, family_of
from pipeline.models.weights import read_weights, weight_files
from pipeline.replica.host_memory import host_memory
from pipeline.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["examine_model"]

NETWORK_SECONDS: Final = 5.0
"""For each answer of the hub."""


def examine_model(model: str, revision: str | None) -> list[Finding]:
    """Look at a model by its name: the built-in one, a directory, a hub id."""
    try:
        directory = local_directory(model)
    except ModelError as error:
        return [Finding(str(error), "problem", do="moee models  (lists what works)")]
    return _on_hub(model, revision) if directory is None else _in_directory(model, directory)


def _in_directory(model: str, directory: Path) -> list[Finding]:
    again = "hf download HUB/ID --local-dir DIR  (fetches what is missing)"
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        kind = str(config["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"{directory / 'config.json'} does not say what the model is ({type(error).__name__})"
        return [Finding(what, "problem", "it is no checkpoint's directory, or not a whole one", again)]
    try:
        read_weights(model, directory)
        files = weight_files(model, directory)
    except ModelError as error:
        return [Finding(str(error), "problem", do=again)]
    if not files:
        why = "other formats of weights may hold code, and are not loaded"
        return [Finding(f"{directory} holds no *.safetensors file", "problem", why, again)]
    total = sum(file.stat().st_size for file in files)
    found = [ok(f"{directory}: {counted(len(files), 'weight file')}, {size(total)}, whole")]
    if not any(file for pattern in TOKENIZER_FILES for file in directory.glob(pattern)):
        found.append(Finding(f"{directory} holds no tokenizer", "problem", "texts cannot be encoded", again))
    return [*found, _architecture(kind), *_room(total)]


def _on_hub(model: str, revision: str | None) -> list[Finding]:
    from huggingface_hub import constants, hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    asked: dict[str, Any] = {"revision": revision, "etag_timeout": NETWORK_SECONDS}
    patterns: list[str] = list(HUB_FILES)
    try:
        files: Any = snapshot_download(model, allow_patterns=patterns, dry_run=True, **asked)
        config = hf_hub_download(model, "config.json", **asked)
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        try:
            cached = snapshot_download(model, allow_patterns=patterns, revision=revision, local_files_only=True)
        except (HfHubHTTPError, HFValidationError, OSError):
            return [_not_to_be_had(model, revision, error.__cause__ or error)]
        why = "the copy on this disk is taken, which may be older than the hub's"
        away = Finding("the hub does not answer for it", "note", why)
        return [away, *_in_directory(model, Path(cached))]
    weights = [file for file in files if file.filename.endswith(".safetensors")]
    if not weights:
        why = "other formats of weights may hold code, and are not loaded"
        return [Finding(f"{model} has no *.safetensors file on the hub", "problem", why, "moee models")]
    missing = sum(file.file_size for file in files if file.will_download)
    total = sum(file.file_size for file in weights)
    there = f"{size(missing)} to be downloaded" if missing else "on this disk"
    kind = str(json.loads(Path(config).read_text(encoding="utf-8")).get("model_type"))
    found = [ok(f"the hub has it: {counted(len(weights), 'weight file')}, {size(total)}, {there}")]
    return [*found, _architecture(kind), *_disk(Path(constants.HF_HUB_CACHE), missing), *_room(total)]


def _not_to_be_had(model: str, revision: str | None, error: BaseException) -> Finding:
    """Why the hub gives nothing, by the kind of its refusal."""
    ways: Mapping[str, tuple[str, str]] = {
        "GatedRepoError": (
            "its owners ask for consent first",
            f"open https://huggingface.co/{model}, then: hf auth login",
        ),
        "RepositoryNotFoundError": ("there is no such model, or it is private", "hf auth login  (if it is private)"),
        "RevisionNotFoundError": (f"it has no revision {revision!r}", f"moee doctor --model {model}"),
        "HFValidationError": ("that is no hub id, which has the form OWNER/NAME", "moee models"),
    }
    offline = "unset HF_HUB_OFFLINE" if os.environ.get("HF_HUB_OFFLINE") else "export HTTPS_PROXY=…, if one is needed"
    away = ("the hub cannot be reached, and no copy is on this disk", f"{offline}; or copy the model here: --model DIR")
    why, do = ways.get(type(error).__name__, away)
    return Finding(f"{model} is not to be had", "problem", why, do)


def _architecture(kind: str) -> Finding:
    family = family_of(kind)
    if kind in REFUSED:
        return Finding(f"architecture {kind}", "problem", REFUSED[kind], "moee models  (lists what works)")
    if family is None:
        why = "it is tried when it is loaded, and refused if it has no routers that can be read"
        return Finding(f"architecture {kind}, which is not verified", "note", why, "moee models")
    return ok(f"architecture {kind}, verified")


def _disk(folder: Path, missing: int) -> list[Finding]:
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(nearest).free
    if not missing or free > missing:
        return []
    what = f"disk of {folder}: {size(free)} free, {size(missing)} to be downloaded"
    return [Finding(what, "problem", "the download will fail", "export HF_HOME=/a/larger/disk")]


def _room(total: int) -> list[Finding]:
    """In memory, where replicas run on CPUs; each GPU tells what it has itself."""
    free = host_memory()
    if count_gpus() or free is None or total < free:
        return []
    what = f"memory: {size(free)} free, the weights take {size(total)}"
    return [Finding(what, "problem", "it is refused", "moee embed … --quantization nf4  (takes about a quarter)")]
