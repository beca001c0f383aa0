"""Images in buckets (`s3://`, `gs://`, `hf://`, …), read through fsspec.

A file that gives no answer, or whose bucket refuses, is refused after a few attempts; when several
files in a row fail, the run stops with one sentence instead of refusing a million images.
"""

from __future__ import annotations

import os
import posixpath
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, TypeVar

from ilk.core.blocked_reads import watch_read
from ilk.core.errors import IlkError, InputError, Unavailable
from ilk.core.worker_threads import WorkerThreads
from ilk.images.inspection.members import MAX_MEMBER_BYTES, Member
from ilk.images.rows import escape_path
from ilk.images.rows.archive_names import is_archive
from ilk.images.rows.refused import ImageError
from ilk.images.tables.files import TABLE_SUFFIXES

T = TypeVar("T")
LISTS = (*TABLE_SUFFIXES, ".txt")
ATTEMPTS = 3  # per file, where the bucket may answer another time
PAUSE_SECONDS = 0.5  # before the second attempt; doubled before each further one
MAX_FAILURES = 20  # files in a row after which a run stops


@lru_cache(maxsize=16)
def open_bucket(address: str) -> Bucket:
    """Open the bucket that an address `PROTOCOL://BUCKET` names; nothing is requested yet.

    Raises:
        Unavailable: fsspec, or its package for this protocol, is not installed.
        InputError: The bucket cannot be opened, for example without credentials.
    """
    try:
        import fsspec
        from fsspec.registry import known_implementations
    except ImportError:
        raise Unavailable(
            f"{escape_path(address)} is read through fsspec; run: pip install 'ilk[shards]'"
        ) from None
    protocol = address.partition("://")[0]
    try:
        return Bucket(address, fsspec.filesystem(protocol))
    except ImportError:
        package = known_implementations[protocol]["class"].partition(".")[0]
        raise Unavailable(
            f"{protocol}:// is read through the package {package}; run: pip install {package}"
        ) from None
    except Exception as error:  # each file system raises its own
        raise InputError(
            f"{escape_path(address)} cannot be opened ({_describe(error)}); check the address and "
            "the credentials that its file system reads"
        ) from None


class Bucket:
    """A bucket, whose files are read like those of an archive.

    Args:
        address: `PROTOCOL://BUCKET`.
        fs: The file system of fsspec.
    """

    def __init__(self, address: str, fs: Any) -> None:
        self.address, self.path, self.fs = address, Path(address), fs
        self.members: tuple[Member, ...] = ()
        self.notes: tuple[str, ...] = ()
        self._lock, self._n_failures = Lock(), 0

    def read(self, member: Member) -> bytes:
        """Return the content of a file.

        Raises:
            ImageError: It is missing or cannot be read.
            InputError: Many files in a row could not be read.
        """
        for attempt in range(ATTEMPTS):
            try:
                with watch_read(member.name):
                    content = self._fetch(member)
            except FileNotFoundError:
                raise ImageError("missing", "no such file", is_permanent=False) from None
            except ImageError:
                raise
            except Exception as error:  # each file system raises its own
                is_last = attempt == ATTEMPTS - 1 or isinstance(error, PermissionError)
                if is_last or isinstance(error, TimeoutError):
                    self._count_failure(error)
                    raise ImageError("unreadable", _describe(error), is_permanent=False) from None
                time.sleep(PAUSE_SECONDS * 2**attempt)
            else:
                self._n_failures = 0
                return content
        raise AssertionError("every attempt returns or raises")

    def _fetch(self, member: Member) -> bytes:
        size = member.size or self.fs.size(member.name) or 0
        if size > MAX_MEMBER_BYTES:
            raise ImageError(
                "too large", f"{size:,} bytes, where {MAX_MEMBER_BYTES:,} are allowed in a bucket"
            )
        return bytes(self.fs.cat_file(member.name))

    def _count_failure(self, error: Exception) -> None:
        with self._lock:
            self._n_failures += 1
            n = self._n_failures
        if n >= MAX_FAILURES:
            raise InputError(
                f"{n} files in a row of {escape_path(self.address)} could not be read, the last "
                f"with: {_describe(error)}; check the connection and the credentials, and run the "
                "same command again, which continues where it stopped"
            )


@dataclass(frozen=True, eq=False)
class RemoteFile(Member):
    """A file in a bucket; `name` is its whole address, and a `size` of 0 is unknown."""

    noun: ClassVar[str] = "the file"

    @property
    def path(self) -> str:
        """Its address."""
        return self.name

    def locate(self) -> tuple[str, str]:
        """Return ("", ""): its address says all."""
        return "", ""

    def read(self) -> bytes:
        """Return the content.

        Raises:
            ImageError: It cannot be read, or is too large.
            InputError: Many files in a row could not be read.
        """
        return self.archive.read(self)


def open_remote(address: str, size: int = 0) -> RemoteFile:
    """Return the file at an address; nothing is requested yet.

    Raises:
        Unavailable: A package is missing.
        InputError: The bucket cannot be opened.
    """
    return RemoteFile(open_bucket(_get_root(address)), address, size, 0)


def list_remote(address: str) -> list[RemoteFile]:
    """Return the files at an address: those of a folder, sorted, or the file itself.

    Raises:
        Unavailable: A package is missing.
        InputError: There is nothing at the address, no permission, or no answer.
    """
    shown = escape_path(address)
    if os.path.splitext(address)[1].casefold() in LISTS or is_archive(address):
        raise InputError(
            f"{shown} is a table or archive in a bucket, where only images and folders of images "
            "are read; copy it to this machine: the addresses in a table may stay as they are"
        )
    bucket = open_bucket(_get_root(address))
    try:
        found = _call_bounded(address, partial(_find, bucket.fs, address))
    except FileNotFoundError:
        found = None
    except IlkError:
        raise
    except Exception as error:
        raise InputError(
            f"{shown} cannot be listed ({_describe(error)}); check the address, the connection and "
            "the credentials"
        ) from None
    if not found:
        raise InputError(f"there is no file at {shown}; check the address")
    return [RemoteFile(bucket, name, size, 0) for name, size in sorted(found.items())]


def _find(fs: Any, address: str) -> dict[str, int]:
    """Return the size of each file at an address, by its address."""
    base = fs._strip_protocol(address)
    with watch_read(address):
        found = fs.find(base, detail=True)
    prefix = address.rstrip("/")
    return {
        prefix + name[len(base.rstrip("/")) :]: int(info.get("size") or 0)
        for name, info in found.items()
        if info.get("type", "file") == "file"
    }


def _call_bounded(address: str, call: Callable[[], T]) -> T:
    """Return what a call returns, which may give no answer for as long as a file may."""
    with WorkerThreads(1, "bucket") as pool:
        return pool.get_result(pool.submit(call))


def _get_root(address: str) -> str:
    protocol, _, rest = address.partition("://")
    return f"{protocol}://{rest.lstrip('/').split('/')[0]}"


def get_relative(address: str, folder: str) -> str:
    """Return the path of a file of a folder, relative to it."""
    return posixpath.normpath(address[len(folder.rstrip("/")) :].lstrip("/"))


def _describe(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
