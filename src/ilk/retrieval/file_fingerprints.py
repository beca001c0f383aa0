"""Size and fingerprint of files, so that one that is cut off or altered is noticed when opened.

The fingerprint is the SHA-256 of the size and of at most 64 pieces of 1 MiB, evenly spaced: a file
up to 64 MiB is compared whole, and opening a larger one does not take longer than searching it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from ilk.core.errors import ArtifactError
from ilk.core.regular_file import check_regular_file

PIECES, PIECE = 64, 2**20


class FileEntries(TypedDict):
    """Size and fingerprint of a file."""

    size: int
    fingerprint: str


def describe_file(path: Path) -> FileEntries:
    """Return size and fingerprint of a file."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    if size <= PIECES * PIECE:
        starts = range(0, size, PIECE)
    else:
        starts = [i * (size - PIECE) // (PIECES - 1) for i in range(PIECES)]  # type: ignore[assignment]
    with path.open("rb") as file:
        for start in starts:
            file.seek(start)
            digest.update(file.read(PIECE))
    return {"size": size, "fingerprint": digest.hexdigest()}


def check_files(folder: Path, files: Mapping[str, FileEntries]) -> None:
    """Raise ArtifactError unless every file is as it was written."""
    for name, expected in files.items():
        path = folder / name
        if Path(name).name != name:
            raise ArtifactError(f"{folder} names a file outside its folder; build it again")
        try:
            check_regular_file(path)
            size = path.stat().st_size
            if size != expected["size"]:
                raise ArtifactError(
                    f"{path} has {size:,} bytes instead of {expected['size']:,}: it was cut off or "
                    "altered; build the index again"
                )
            if describe_file(path) != expected:
                raise ArtifactError(f"{path} was altered, or is damaged; build the index again")
        except OSError as error:
            raise ArtifactError(
                f"{path} cannot be read ({error.strerror or error}); build the index again"
            ) from None
