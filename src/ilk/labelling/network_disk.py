"""Whether a file lies on a network disk, where locks may not hold."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ilk.images import escape_path

NETWORK_TYPES = ("nfs", "cifs", "smb", "9p", "fuse.sshfs", "fuse.rclone", "afs", "ceph", "gluster")
MOUNTS = Path("/proc/mounts")


def describe_network_disk(path: Path, mounts: Path = MOUNTS) -> str:
    """Return a warning if `path` lies on a network disk, "" if not or if that is not known.

    Args:
        path: A file, which may be missing.
        mounts: The kernel's table of mounted disks, which only Linux has.
    """
    with suppress(OSError, ValueError):
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
        parts = [line.split(" ") for line in lines]
        points = {Path(p[1].replace("\\040", " ")): p[2] for p in parts if len(p) > 2}
        home = path.parent.resolve()
        point = next(folder for folder in (home, *home.parents) if folder in points)
        if points[point].startswith(NETWORK_TYPES):
            return (
                f"the log {escape_path(path)} lies on a network disk ({points[point]}), where "
                "another machine may write to it at the same time; name a file on a local disk "
                "with --log"
            )
    return ""
