"""Whether the log of labels lies on a network disk, where locks may not hold."""

from __future__ import annotations

from pathlib import Path

from ilk.core.network_disk import MOUNTS, find_network_type
from ilk.images import escape_path


def describe_network_disk(path: Path, mounts: Path = MOUNTS) -> str:
    """Return a warning if `path` lies on a network disk, "" if not or if that is not known.

    Args:
        path: A file, which may be missing.
        mounts: The kernel's table of mounted disks, which only Linux has.
    """
    kind = find_network_type(path, mounts)
    if not kind:
        return ""
    return (
        f"the log {escape_path(path)} is on a network disk ({kind}), where another machine may "
        "write to it at the same time; name a file on a local disk with --log"
    )
