"""The memory that this machine has left, within what its container may take; known without torch."""

from __future__ import annotations

from pathlib import Path

__all__ = ["host_memory"]


def host_memory() -> int | None:
    """Free bytes; None: unknown."""
    left = [room for room in (_machine_memory(), _cgroup_memory()) if room is not None]
    return min(left) if left else None


def _machine_memory() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _cgroup_memory() -> int | None:
    """What a container's limit leaves. Cached files count as free, because the kernel gives their memory back."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        if limit == "max":
            return None
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        counts = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
        return max(int(limit) - used + int(counts.get("inactive_file", 0)) + int(counts.get("active_file", 0)), 0)
    except (OSError, ValueError):
        return None
