"""Tar archives of images. A compressed one is unpacked once to a temporary file without a name."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import tarfile
import tempfile
import weakref
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import IO, Any, BinaryIO, cast

from ilk.core.errors import InputError, OutputError, Unavailable
from ilk.images.inspection.members import MAX_MEMBERS, Member, clean_name, mark_replaced
from ilk.images.rows import escape_path

BLOCK = tarfile.BLOCKSIZE
CHUNK = 2**20
FREE_BYTES = 2**29  # that stay free on the disk of the temporary file
MIN_UNPACKED, MAX_UNPACKED_RATIO = 2**30, 100  # bytes that any archive may have; per packed byte
OPENERS: dict[bytes, Callable[[BinaryIO], IO[bytes]]] = {  # by first bytes
    b"\x1f\x8b": lambda file: cast("IO[bytes]", gzip.GzipFile(fileobj=file)),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": lambda file: _open_zstandard(file),
}


class TarArchive:
    """A tar archive, compressed or not.

    Args:
        path: The file.

    Raises:
        InputError: It is not a tar archive, or is damaged, cut off, or built to fill the disk.
        OutputError: There is no room for the temporary file.
        Unavailable: It is compressed with Zstandard, and this Python does not read that.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._lock = path, Lock()
        self._shown = escape_path(path)
        self._file = self._open()
        weakref.finalize(self, self._file.close)
        self.notes: tuple[str, ...] = ()
        try:
            self.members = mark_replaced(self._list_members())
        except InputError:
            raise
        except Exception as error:  # tarfile raises many types for damaged files
            raise self._make_damage_error(error) from error

    def __reduce__(self) -> tuple[type[TarArchive], tuple[Path]]:
        return TarArchive, (self.path,)

    def read(self, member: Member) -> bytes:
        """Return the content of a file."""
        with self._lock:
            self._file.seek(member.position)
            content = self._file.read(member.size)
        if len(content) != member.size:
            raise EOFError(f"({len(content):,} of {member.size:,} bytes)")
        return content

    def _open(self) -> BinaryIO:
        try:
            file = open(self.path, "rb")  # noqa: SIM115  (closed with the archive)
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"{self._shown} cannot be read: {reason}") from error
        head = file.read(8)
        file.seek(0)
        opener = next((o for magic, o in OPENERS.items() if head.startswith(magic)), None)
        if opener is None:
            return file
        with file:
            return self._unpack(file, opener)

    def _unpack(self, file: BinaryIO, opener: Callable[[BinaryIO], IO[bytes]]) -> BinaryIO:
        """Return a temporary file, which vanishes when it is closed, with the unpacked archive."""
        size = os.fstat(file.fileno()).st_size
        limit = max(MIN_UNPACKED, MAX_UNPACKED_RATIO * size)
        temporary = cast(BinaryIO, tempfile.TemporaryFile(prefix="ilk-"))  # noqa: SIM115
        try:
            with opener(file) as unpacked:
                self._copy(unpacked, temporary, limit)
        except BaseException as error:
            temporary.close()
            if isinstance(error, InputError | OutputError | Unavailable | KeyboardInterrupt):
                raise
            raise self._make_damage_error(error) from error
        temporary.seek(0)
        return temporary

    def _copy(self, source: IO[bytes], to: BinaryIO, limit: int) -> None:
        free = shutil.disk_usage(tempfile.gettempdir()).free - FREE_BYTES
        n_bytes = 0
        while chunk := source.read(CHUNK):
            n_bytes += len(chunk)
            if n_bytes > limit:
                raise InputError(
                    f"{self._shown} unpacks to more than {limit:,} bytes, as an archive made to "
                    "fill the disk; if it is not, unpack it yourself and give the folder"
                )
            if n_bytes > free:
                raise OutputError(
                    f"there is no room in {tempfile.gettempdir()} to unpack {self._shown}; "
                    "set TMPDIR to another folder, or unpack it and give its folder"
                )
            to.write(chunk)

    def _list_members(self) -> list[Member]:
        size = os.fstat(self._file.fileno()).st_size
        tar = tarfile.TarFile(fileobj=self._file, mode="r")
        members: list[Member] = []
        contents: dict[str, Member] = {}
        last = -1
        while (info := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # tarfile would keep all
            if info.offset <= last:
                raise tarfile.ReadError("its parts point backwards")
            last = info.offset
            if len(members) == MAX_MEMBERS:
                raise InputError(
                    f"{self._shown} holds more than {MAX_MEMBERS:,} files; unpack it, and give "
                    "the folder"
                )
            if not info.isdir():
                member = self._make_member(info, contents)
                members.append(member)
                contents[member.name] = member
        self._check_end(int(tar.offset), size)
        return members

    def _check_end(self, offset: int, size: int) -> None:
        """Raise ReadError unless the archive ends where its last file does, or in zeros.

        `tarfile` takes a damaged header for the end, and the files behind it would be lost.
        """
        self._file.seek(offset)
        block = self._file.read(BLOCK)
        if offset > size or block.strip(b"\0"):
            raise tarfile.ReadError(f"at byte {offset:,}")

    def _make_member(self, info: tarfile.TarInfo, contents: dict[str, Member]) -> Member:
        name, problem = clean_name(info.name)
        if info.islnk() and (target := contents.get(clean_name(info.linkname)[0])):
            return Member(self, name, target.size, target.position, problem or target.problem)
        if info.issparse():
            problem = "stored with holes, which is not read in an archive"
        elif not info.isreg():
            what = "a link, which is not followed" if info.issym() or info.islnk() else "no file"
            problem = f"{what} in an archive"
        return Member(self, name, info.size, info.offset_data, problem)

    def _make_damage_error(self, error: BaseException) -> InputError:
        return InputError(
            f"{self._shown} is not a tar archive, or is damaged or cut off "
            f"({error or type(error).__name__}); copy it again, or give its folder"
        )


def _open_zstandard(file: BinaryIO) -> IO[bytes]:
    """Open a Zstandard file with the standard library, where it can."""
    try:
        zstd: Any = import_module("compression.zstd")
    except ImportError:
        raise Unavailable(
            "this archive is compressed with Zstandard, which Python reads from version 3.14 on; "
            "unpack it and give the folder"
        ) from None
    return cast("IO[bytes]", zstd.ZstdFile(file))
