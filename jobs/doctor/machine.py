"""This machine: the interpreter, the libraries, the GPUs, memory, disk, shared memory, open files."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement

from jobs.doctor.finding import Finding, ok, size
from jobs.doctor.libraries import library_facts
from pipeline.flow.engines.devices import count_gpus
from pipeline.replica.host_memory import host_memory

__all__ = ["examine_machine"]

PACKAGE: Final = "moee-pipeline"

MIN_MEMORY: Final = 2 << 30
"""What a run with the built-in model takes at most, two replicas and a reader."""

MIN_DISK: Final = 1 << 30
MAX_DISK_SHARE: Final = 0.95
"""Ray moves no more objects to a disk that is fuller."""

SHARED_MEMORY: Final = 1 << 30
"""What a Ray cluster of a run's own asks for."""

MIN_OPEN_FILES: Final = 4096
"""Ray warns of fewer, and raises the limit itself as far as it may."""

_SHOWN: Final = ("ray", "pylance", "lancedb", "transformers")


def examine_machine() -> list[Finding]:
    """Look at all of it."""
    facts = library_facts()
    return [
        _python(),
        *_versions(),
        *_libraries(facts),
        *_gpus(facts),
        _memory(),
        _disk(),
        *_shared_memory(),
        _open_files(),
    ]


def _python() -> Finding:
    where = f"Python {platform.python_version()} ({sys.executable}), {platform.system()} {platform.machine()}"
    return ok(f"{where}, {os.cpu_count()} CPUs")


def _versions() -> list[Finding]:
    """What of the package's own requirements is missing here, or of a version that was not tested."""
    wrong: list[Finding] = []
    for text in metadata.requires(PACKAGE) or []:
        needed = Requirement(text)
        if needed.marker is not None and not needed.marker.evaluate():
            continue  # of an extra
        found = _version(needed.name)
        if found is None or not needed.specifier.contains(found, prereleases=True):
            there = f"{needed.name} {found}" if found else f"no {needed.name}"
            why = f"{PACKAGE} {metadata.version(PACKAGE)} was tested with {needed.name} {needed.specifier} only"
            wrong.append(Finding(there, "problem", why, f"pip install '{needed}'"))
    shown = ", ".join(f"{name} {_version(name)}" for name in _SHOWN)
    return [*wrong, ok(f"{PACKAGE} {metadata.version(PACKAGE)}, {shown}")]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _libraries(facts: dict[str, Any]) -> list[Finding]:
    if "error" in facts:
        return [Finding(facts["error"], "problem", "no model can be loaded", _reinstall("torch"))]
    found = [ok(f"{name} {facts[name]}") for name in ("torch", "bitsandbytes") if name in facts]
    if "torch_error" in facts:
        what = f"torch cannot be imported: {facts['torch_error']}"
        found.append(Finding(what, "problem", "no model can be loaded", _reinstall("torch")))
    if "bitsandbytes_error" in facts:
        what = f"bitsandbytes cannot be imported: {facts['bitsandbytes_error']}"
        found.append(Finding(what, "problem", "--quantization nf4 and int8 need it", _reinstall("bitsandbytes")))
    return found


def _reinstall(name: str) -> str:
    needed = [Requirement(text) for text in metadata.requires(PACKAGE) or []]
    wanted = next((f"{each.name}{each.specifier}" for each in needed if each.name == name), name)
    return f"pip install --force-reinstall --no-deps '{wanted}'"


def _gpus(facts: dict[str, Any]) -> list[Finding]:
    there = count_gpus()
    if "torch" not in facts:
        return []
    if not there:
        return [Finding("no GPU", "note", "replicas run on CPUs: right for the built-in model, slow for large ones")]
    driver = f", driver {version}" if (version := _driver()) else ""
    if facts["cuda"] is None:
        why = f"torch {facts['torch']} is built for CPUs only: {there} GPUs stay idle"
        return [Finding(f"{there} GPUs{driver}", "problem", why, f"{_reinstall('torch')}  (a build for CUDA)")]
    if not facts["gpus"]:
        why = "; ".join(facts["told"]) or f"torch, built for CUDA {facts['cuda']}, finds none that it can use"
        do = "nvidia-smi  (it must list them; then take a torch built for that driver's CUDA, or a newer driver)"
        return [Finding(f"{there} GPUs{driver}", "problem", why, do)]
    found: list[Finding] = []
    for number, gpu in enumerate(facts["gpus"]):
        room = f"{size(gpu['free'])} of {size(gpu['total'])} free"
        found.append(ok(f"GPU {number}: {gpu['name']}, {room}{driver}, CUDA {facts['cuda']}"))
    if not all(gpu["bfloat16"] for gpu in facts["gpus"]):
        why = "bfloat16, which models are loaded in by default, is emulated there"
        found.append(Finding("a GPU older than Ampere", "note", why, "moee embed … --dtype float16"))
    return found


def _driver() -> str | None:
    try:
        text = Path("/proc/driver/nvidia/version").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(r"\s(\d+\.\d+[.\d]*)\s", text)
    return found[1] if found else None


def _memory() -> Finding:
    free = host_memory()
    if free is None:
        return Finding("how much memory is free is not known here", "note", "models that do not fit are not refused")
    if free < MIN_MEMORY:
        why = "a run's processes are ended by the system when it is used up"
        return Finding(f"memory: {size(free)} free", "problem", why, "end other programs, or give the container more")
    return ok(f"memory: {size(free)} free")


def _disk() -> Finding:
    folder = tempfile.gettempdir()
    disk = shutil.disk_usage(folder)
    what = f"disk of {folder}: {size(disk.free)} of {size(disk.total)} free"
    elsewhere = "export TMPDIR=/a/larger/disk RAY_TMPDIR=/a/larger/disk"
    if disk.free < MIN_DISK:
        return Finding(what, "problem", "Ray's sessions and what is staged there find no room", elsewhere)
    if disk.used > MAX_DISK_SHARE * disk.total:
        return Finding(what, "note", f"Ray spills nothing to a disk that is over {MAX_DISK_SHARE:.0%} full", elsewhere)
    return ok(what)


def _shared_memory() -> list[Finding]:
    folder = Path("/dev/shm")  # noqa: S108 — shared memory
    if not folder.is_dir():
        return []
    total = shutil.disk_usage(folder).total
    if total >= SHARED_MEMORY:
        return [ok(f"{folder}: {size(total)}")]
    why = f"Ray's object store, {size(SHARED_MEMORY)}, goes to the slow disk instead; --engine local needs none"
    do = "docker run --shm-size=2g …  (on Kubernetes: mount an emptyDir of medium Memory there)"
    return [Finding(f"{folder}: {size(total)}", "note", why, do)]


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    what = "open files: no limit" if soft == resource.RLIM_INFINITY else f"open files: {soft:,} at most"
    if soft >= MIN_OPEN_FILES or soft == resource.RLIM_INFINITY:
        return ok(what)
    why = "tables of many fragments, and Ray's workers, keep thousands open: 'Too many open files'"
    if hard < MIN_OPEN_FILES and hard != resource.RLIM_INFINITY:
        do = f"ulimit -n {MIN_OPEN_FILES}  (as root: the limit itself is {hard:,})"
        return Finding(what, "problem", why, do)
    return Finding(what, "note", why, f"ulimit -n {MIN_OPEN_FILES}")
