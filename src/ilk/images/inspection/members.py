"""Files inside an archive, which are read on demand and never unpacked beside the archive."""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Protocol

from ilk.images.rows.refused import ImageError

MAX_MEMBER_BYTES = 2**28  # a file in an archive is read into memory as a whole
MAX_MEMBERS = 2_000_000
TRUSTED_BYTES = 2**24  # files up to this size may be compressed to any extent
MAX_RATIO = 200  # bytes per compressed byte of larger files; images give 1 to 100


class Archive(Protocol):
    """A zip or tar archive: its files and how to read one."""

    @property
    def path(self) -> Path:
        """Path of the archive."""

    @property
    def members(self) -> tuple[Member, ...]:
        """Its files, folders left out, in the order of the archive."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was read differently from what may be expected."""

    def read(self, member: Member) -> bytes:
        """Return the content of a file; raises ImageError if it cannot be read."""


@dataclass(frozen=True, eq=False)
class Member:
    """A file inside an archive.

    Attributes:
        archive: The archive.
        name: Its path there, with `/` as separator.
        size: Bytes.
        position: Where the archive finds it: an index, or an offset in bytes.
        problem: Why it cannot be read, "" if it may be.
    """

    archive: Archive
    name: str
    size: int
    position: int
    problem: str = ""
    noun: ClassVar[str] = "the archive"  # what holds it, in messages

    @property
    def path(self) -> str:
        """The path of the archive, followed by that of the file."""
        return f"{self.archive.path.as_posix()}/{self.name}"

    def locate(self) -> tuple[str, str]:
        """Return the absolute path of the archive, and the name of the file in it."""
        return os.path.abspath(self.archive.path), self.name

    def read(self) -> bytes:
        """Return the content.

        Raises:
            ImageError: It cannot be read, is damaged, or too large.
        """
        if self.problem:
            raise ImageError("unreadable", self.problem, is_permanent=False)
        if self.size > MAX_MEMBER_BYTES:
            raise ImageError(
                "too large",
                f"{self.size:,} bytes in an archive, where {MAX_MEMBER_BYTES:,} are allowed; "
                "unpack the archive",
                is_permanent=False,
            )
        try:
            return self.archive.read(self)
        except ImageError:
            raise
        except EOFError as error:
            raise ImageError("truncated", f"the archive ends too early {error}") from error
        except Exception as error:  # zlib, lzma, zipfile and tarfile raise a dozen of types
            raise ImageError(
                "unreadable", f"damaged in the archive ({error or type(error).__name__})"
            ) from error


def clean_name(name: str) -> tuple[str, str]:
    """Return the path of a member without `.` and `//`, and why it must not be used, or "".

    >>> clean_name("./cat//1.jpg"), clean_name("../1.jpg")
    (('cat/1.jpg', ''), ('../1.jpg', 'its name leads out of the archive'))
    """
    clean = posixpath.normpath(name)
    is_outside = clean.startswith("/") or clean.split("/")[0] == ".."
    if is_outside or re.match("[A-Za-z]:", clean) or not name:
        return name or "(no name)", "its name leads out of the archive"
    return clean, ""


def mark_replaced(members: list[Member]) -> tuple[Member, ...]:
    """Mark files that a later one of the same name replaces, as unpacking would."""
    last = {member.name: i for i, member in enumerate(members)}
    return tuple(
        member
        if last[member.name] == i or member.problem
        else replace(member, problem="a later file of the archive has the same name")
        for i, member in enumerate(members)
    )
