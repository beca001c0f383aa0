"""How much memory this process may still use."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

FALLBACK = 4 * 2**30  # bytes, where the system does not say


def measure_available_memory() -> int:
    """Return the bytes that are free on this machine, or in the control group if that is less."""
    limits = [_read_free(), _read_group()]
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else FALLBACK


def _read_free() -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return None


def _read_group() -> int | None:
    """Return what a container may still use, as far as its control group (version 2) says."""
    with suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        most = (group / "memory.max").read_text().strip()
        if most != "max":
            return max(0, int(most) - int((group / "memory.current").read_text()))
    return None
