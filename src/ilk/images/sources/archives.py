"""Archives of images: which files are archives, and what lies where inside."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from ilk.core.errors import InputError
from ilk.images.annotations.splits import METADATA_FILES, UNLABELLED_FOLDERS, parse_split
from ilk.images.inspection.members import Archive, Member
from ilk.images.rows import escape_path
from ilk.images.rows.archive_names import OTHER_SUFFIXES

if sys.platform == "win32":
    from pathlib import WindowsPath as NativePath
else:
    from pathlib import PosixPath as NativePath


def open_archive(path: str | os.PathLike[str]) -> Archive:
    """Open an archive; its files are read later.

    Raises:
        InputError: It is damaged, encrypted, of another kind, or built to exhaust this machine.
        OutputError: There is no room to unpack a compressed tar archive for the time of the run.
        Unavailable: It is compressed in a way that this Python cannot read.
    """
    name = os.fspath(path).casefold()
    if other := next((text for end, text in OTHER_SUFFIXES.items() if name.endswith(end)), None):
        raise InputError(
            f"{escape_path(path)} is a {other} archive, which is not read; unpack it and give the "
            "folder, or pack it as .zip"
        )
    if name.endswith(".zip"):
        from ilk.images.sources.zip_archive import ZipArchive

        return ZipArchive(Path(path))
    from ilk.images.sources.tar_archive import TarArchive

    return TarArchive(Path(path))


def find_wrapper(names: Iterable[str]) -> str:
    """Return the folder in which everything lies, as many archives are made; "" if there is none.

    A split is not a wrapper, nor is a folder without folders or a table of labels in it: a class.

    Args:
        names: Paths of the files in the archive, those of the operating system left out.

    >>> find_wrapper(["photos/cat/1.jpg", "photos/dog/1.jpg"]), find_wrapper(["cat/1.jpg"])
    ('photos', '')
    """
    paths = [name.split("/") for name in names]
    wrapper: list[str] = []
    while paths:
        tops = {parts[0] if len(parts) > 1 else "" for parts in paths}
        top = tops.pop()
        if tops or not top or parse_split(top) or top.casefold() in UNLABELLED_FOLDERS:
            break
        inside = [parts[1:] for parts in paths]
        if not any(len(p) > 1 or p[0].casefold() in METADATA_FILES for p in inside):
            break
        wrapper.append(top)
        paths = inside
    return "/".join(wrapper)


class MemberPath(NativePath):
    """The path of a file inside an archive, whose bytes are those of the file."""

    member: Member

    @classmethod
    def of(cls, member: Member) -> MemberPath:
        """Return the path of a member, which begins with that of its archive."""
        path = cls(member.archive.path / member.name)
        path.member = member
        return path

    def read_bytes(self) -> bytes:
        """Return the content.

        Raises:
            OSError: It cannot be read.
        """
        from ilk.images.rows.refused import ImageError

        try:
            return self.member.read()
        except ImageError as error:
            raise OSError(f"{error.reason}: {error.detail}") from error
