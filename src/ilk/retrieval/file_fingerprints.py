"""Check the files of an index against their size and fingerprint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ilk.core.errors import ArtifactError
from ilk.core.file_fingerprints import FileEntries, describe_file
from ilk.core.regular_file import check_regular_file


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
