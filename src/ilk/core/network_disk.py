"""Whether a file lies on a network disk, where locks may not hold."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

NETWORK_TYPES = (
    *("nfs", "cifs", "smb", "9p", "fuse.sshfs", "fuse.rclone", "afs", "ceph", "gluster"),
    *("fuse.glusterfs", "lustre", "gpfs", "beegfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.juicefs"),
)
MOUNTS = Path("/proc/mounts")


def find_network_type(path: Path, mounts: Path = MOUNTS) -> str:
    """Return the type of the network disk that `path` lies on, such as "nfs4".

    "" if it lies on none, or if that is not known.

    Args:
        path: A file or folder, which may be missing.
        mounts: The kernel's table of mounted disks, which only Linux has.
    """
    with suppress(OSError, ValueError):
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
        parts = [line.split(" ") for line in lines]
        points = {Path(p[1].replace("\\040", " ")): p[2] for p in parts if len(p) > 2}
        home = path.parent.resolve()
        point = next(folder for folder in (home, *home.parents) if folder in points)
        if points[point].startswith(NETWORK_TYPES):
            return points[point]
    return ""
