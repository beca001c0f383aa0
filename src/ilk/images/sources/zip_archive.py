"""Zip archives of images: any file is read directly, none is unpacked."""

from __future__ import annotations

import os
import stat
import weakref
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from ilk.core.errors import InputError
from ilk.images.inspection.members import (
    MAX_MEMBERS,
    MAX_RATIO,
    TRUSTED_BYTES,
    Member,
    clean_name,
    mark_replaced,
)
from ilk.images.rows import escape_path

UTF8_FLAG, ENCRYPTED_FLAG = 0x800, 0x1  # APPNOTE.TXT, 4.4.4
UNIX = 3


class ZipArchive:
    """A zip archive.

    Args:
        path: The file.

    Raises:
        InputError: It is not a zip archive, or is damaged, encrypted, or built to exhaust memory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        shown = escape_path(path)
        try:
            file = open(path, "rb")  # noqa: SIM115  (closed with the archive)
        except OSError as error:
            raise InputError(f"{shown} cannot be read: {error.strerror or error}") from error
        weakref.finalize(self, file.close)
        try:
            self._zip = ZipFile(file)
            self._infos = [info for info in self._zip.infolist() if not info.is_dir()]
            size = os.fstat(file.fileno()).st_size
        except Exception as error:  # zipfile raises many types for damaged files
            raise InputError(
                f"{shown} is not a readable zip archive ({error or type(error).__name__}); "
                "it may have been copied in part: copy it again, or give its folder"
            ) from error
        _check_bounds(shown, self._infos, size)
        self.notes: tuple[str, ...] = ()
        self.members = mark_replaced(self._list_members())
        if self.members and all(info.flag_bits & ENCRYPTED_FLAG for info in self._infos):
            raise InputError(
                f"{shown} is encrypted; unpack it with its password, and give the folder"
            )

    def __reduce__(self) -> tuple[type[ZipArchive], tuple[Path]]:
        return ZipArchive, (self.path,)

    def read(self, member: Member) -> bytes:
        """Return the content of a file; its checksum is verified."""
        with self._zip.open(self._infos[member.position]) as file:
            content = file.read(member.size + 1)
        if len(content) != member.size:
            raise EOFError(f"({len(content):,} of {member.size:,} bytes)")
        return content

    def _list_members(self) -> list[Member]:
        names = [_decode_name(info) for info in self._infos]
        if any("\\" in name for name in names) and not any("/" in name for name in names):
            names = [name.replace("\\", "/") for name in names]  # by some programs of Windows
        if any(_is_legacy(info, name) for info, name in zip(self._infos, names, strict=True)):
            name = escape_path(self.path)
            self.notes = (f"names in {name} state no encoding and are read as code page 437",)
        return [
            self._make_member(i, info, name)
            for i, (info, name) in enumerate(zip(self._infos, names, strict=True))
        ]

    def _make_member(self, position: int, info: ZipInfo, name: str) -> Member:
        name, problem = clean_name(name)
        mode = info.external_attr >> 16
        if info.flag_bits & ENCRYPTED_FLAG:
            problem = "encrypted; unpack the archive with its password"
        elif info.create_system == UNIX and stat.S_ISLNK(mode):
            problem = "a link, which is not followed in an archive"
        elif info.file_size > max(TRUSTED_BYTES, MAX_RATIO * info.compress_size):
            problem = (
                f"{info.compress_size:,} bytes that unpack to {info.file_size:,}, as in an archive "
                "made to fill memory; unpack it yourself if it is not"
            )
        return Member(self, name, info.file_size, position, problem)


def _check_bounds(shown: str, infos: list[ZipInfo], size: int) -> None:
    """Raise InputError if there are too many files, or if they overlap to multiply their size."""
    if len(infos) > MAX_MEMBERS:
        raise InputError(
            f"{shown} holds {len(infos):,} files, and {MAX_MEMBERS:,} are allowed in an archive; "
            "unpack it, and give the folder"
        )
    if sum(info.compress_size for info in infos) > size:
        raise InputError(
            f"the files in {shown} overlap, as in an archive made to fill memory; it is not read"
        )


def _decode_name(info: ZipInfo) -> str:
    """Return the name of a file; without a statement of its encoding, UTF-8 if it is valid."""
    name = info.filename
    if info.flag_bits & UTF8_FLAG or name.isascii():
        return name
    try:
        return name.encode("cp437").decode("utf-8")
    except UnicodeError:
        return name


def _is_legacy(info: ZipInfo, name: str) -> bool:
    """Whether a name may be in any of the old encodings."""
    return not info.flag_bits & UTF8_FLAG and not name.isascii() and name == info.filename
