"""What a file of `ilk.retrieval.kinds` defines: a way to keep rows and find the nearest ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

from ilk.core.contracts import describe
from ilk.core.data import Features
from ilk.maths.top_k import Ids, Similarities

Writers = Mapping[str, Callable[[Path], object]]
"""Files of an index by name: what writes each to a path."""


class Vectors(Protocol):
    """Unit rows by id. Ids ascend from call to call of `add`; a deleted id never comes back."""

    def __len__(self) -> int:
        """Return the number of rows that are not deleted."""
        ...

    def add(self, ids: Ids, x: Features, /) -> None:
        """Add unit rows `[m, d]` under ids `[m]`."""
        ...

    def delete(self, ids: Ids, /) -> None:
        """Delete the rows of ids `[m]`, which are there."""
        ...

    def search(self, queries: Features, k: int, /) -> tuple[Ids, Similarities]:
        """Return ids `[m, k]` and similarity `[m, k]`, best first, for unit rows `[m, d]`.

        Where there are fewer than k rows, ids are -1 and the similarity is `-inf`.
        """
        ...

    def take(self, ids: Ids, /) -> Features:
        """Return the unit rows of ids `[m]`, `[m, d]` float32.

        Raises:
            InputError: This kind keeps no rows.
        """
        ...

    def count_bytes(self) -> int:
        """Return the bytes in memory and in mapped files."""
        ...

    def list_files(self) -> Writers:
        """Return what writes each file of it. A name stands for one content for ever."""
        ...


class IndexTags:
    """Base class of the kinds of index: frozen dataclasses of settings with working defaults."""

    is_exact: ClassVar[bool] = False
    """Finds the nearest rows without exception; otherwise recall is measured and printed."""
    needs_sample: ClassVar[bool] = False
    """`start` learns from a sample of the rows."""

    remedy: ClassVar[str] = ""
    """What finds more, in a sentence, where the recall is low."""

    def check(self) -> None:
        """Raise Unavailable or InputError if this kind cannot be used on this machine."""

    def start(self, dim: int, sample: Features, /) -> Vectors:
        """Return an index without rows of `dim` features; `sample` is `[m, dim]`, m may be 0."""
        raise NotImplementedError

    def open(self, folder: Path, dim: int, deleted: Ids, /) -> Vectors:
        """Return the index whose files lie in `folder`; ids `deleted`, `[m]`, are left out.

        Raises:
            ArtifactError: A file is missing, cut off or damaged.
        """
        raise NotImplementedError


def name_setting(value: Any) -> str:
    """Return a kind of index or a projection as it is shown: without empty brackets."""
    return describe(value).removesuffix("()")
