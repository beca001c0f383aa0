"""Keep memory that a network's layers free inside the process.

glibc's allocator hands large blocks back to the kernel as soon as they are freed, so every layer of
every batch begins on pages that the kernel must first find and clear: thousands of page faults per
image, which cost up to half of the time. Layers of one network free and ask for the same sizes over
and over, so keeping the blocks costs no more than the peak that is reached anyway.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading

# Parameters of mallopt(3), from malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
NEVER = 2**31 - 1
LARGEST_MMAP_THRESHOLD = 2**25  # older versions of glibc refuse more
USER_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_ARENA_MAX")

_lock = threading.Lock()
_is_kept: bool | None = None  # None: not tried yet in this process


def keep_freed_memory() -> bool:
    """Make glibc's `malloc` keep freed blocks for later ones; return whether it does.

    The setting holds for the rest of the process and is made once. Blocks come from one arena,
    because those of further threads cannot hold blocks above 64 MB. Nothing is changed where
    another allocator is in use (musl, macOS, Windows), or where the environment already tunes
    glibc's (`MALLOC_…_`, `GLIBC_TUNABLES`).
    """
    global _is_kept
    with _lock:
        if _is_kept is None:
            _is_kept = _configure()
        return _is_kept


def _configure() -> bool:
    if sys.platform != "linux" or any(name in os.environ for name in USER_SETTINGS):
        return False
    if "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018  (only glibc has it)
        mallopt = libc.mallopt
    except (OSError, AttributeError):
        return False
    is_set = any(mallopt(M_MMAP_THRESHOLD, n) for n in (NEVER, LARGEST_MMAP_THRESHOLD))
    return bool(mallopt(M_TRIM_THRESHOLD, NEVER) and mallopt(M_ARENA_MAX, 1) and is_set)


def release_freed_memory() -> None:
    """Hand freed blocks of all threads back to the kernel, where glibc's `malloc` holds them.

    Every thread has an arena of its own, and a small block that lives on keeps the large ones
    around it: after an image of half a gigabyte in each thread, gigabytes are held by nobody.
    """
    if sys.platform != "linux":
        return
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):  # another C library
        return
