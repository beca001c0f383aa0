"""`read`: from a folder, a table or a list to one row a file."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ilk.errors import InputError, NoImages
from ilk.images.decode import decode
from ilk.images.files import inspect
from ilk.images.formats import MAX_PIXELS, quiet
from ilk.images.layout import folder
from ilk.images.refused import Refused
from ilk.images.rows import Images, Row, shown
from ilk.images.tables import LISTS, TABLES, Columns, label_of, read_list, read_table
from ilk.images.verdicts import settled, spelled
from ilk.progress import Advance, Progress, silent

Path_ = str | os.PathLike[str]
Verdict = tuple[str, str]  # reason ("" if it can be decoded), detail
T = TypeVar("T")
U = TypeVar("U")
BATCH = 64  # files a task: enough that the queue costs nothing, few enough to tell of progress
BATCHES = 16  # tasks after which verdicts are remembered, and the most that wait


class Remembers(Protocol):
    """What `read` asks of a store: verdicts by content."""

    def verdicts(self, digests: Iterable[str], /) -> dict[str, Verdict]: ...
    def put_verdicts(self, verdicts: dict[str, Verdict], /) -> None: ...


def read(
    source: Path_ | Iterable[Path_],
    *,
    labels: Sequence[Any] | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    merge_spellings: bool = False,
    verify: bool = True,
    max_pixels: int = MAX_PIXELS,
    store: Remembers | None = None,
    progress: Progress = silent,
    called: str = "",
) -> Images:
    """Look at every file of `source` and say what became of it.

    Args:
        source: A folder (see `ilk.images.layout`); a table (.csv, .tsv, .jsonl, .parquet) with a
            column of paths and one of labels, perhaps `split`; a .txt list of paths; an image; or
            a sequence of paths. Paths in a table or list start from its folder.
        labels: For a list of paths: a class name each, None where not known.
        path_column: The table's column of paths, if it has none of the usual names.
        label_column: The table's column of labels, if it has none of the usual names.
        merge_spellings: Take class names that differ only in spelling for one.
        verify: Decode every image, to find the damaged ones now.
        max_pixels: Width × height above which an image is refused unseen.
        store: Remembers which contents could be decoded, so that none is verified twice.
        called: What messages call a list of paths, such as the folder that they came from.

    Raises:
        InputError: The source cannot be read as it is; says what to do.
        NoImages: Nothing in it can be used; says what was found.
        Unavailable: A Parquet table, and pyarrow is not installed.
    """
    root, rows = _listed(source, labels, Columns(path_column, label_column))
    name = called or "the list of paths"
    if isinstance(source, str | os.PathLike):
        name = shown(source)
    if not rows:
        raise NoImages(f"{name} is empty; it must hold images, best in one folder a class")
    rows = spelled(rows, merge_spellings)

    def look(row: Row) -> Row:
        path = root / row.path if root is not None else row.path
        return inspect(path, row, max_pixels) if row.status == "used" else row

    with progress("looking at files", len(rows)) as advance, quiet():
        images = Images(root, tuple(settled(list(_threaded(look, rows, advance)))))
    if verify:
        images = images.refuse(_verdicts(images, max_pixels, store, progress))
    if not images.used:
        raise _nothing(name, images)
    return images


def _listed(
    source: Path_ | Iterable[Path_], labels: Sequence[Any] | None, columns: Columns
) -> tuple[Path | None, list[Row]]:
    """Where paths start from, and a row a file that has yet to be looked at."""
    if not isinstance(source, str | os.PathLike):
        return None, _labelled([Row(_path(path)) for path in source], labels)
    path = Path(source)
    kind = path.suffix.casefold()
    if not os.path.exists(path):
        raise InputError(
            f"there is no folder or file {shown(path)} (seen from {shown(Path.cwd())})"
        )
    if labels is not None and (path.is_dir() or kind in TABLES):
        raise InputError(
            f"labels= is for a list of paths; {shown(path)} tells its labels by itself"
        )
    if path.is_dir():
        return path, folder(path, columns)
    if kind in TABLES:
        return path.parent, read_table(path, columns)
    rows = read_list(path) if kind in LISTS else [Row(path.name)]
    return path.parent, _labelled(rows, labels)


def _path(path: object) -> str:
    if isinstance(path, str | bytes | os.PathLike):
        return os.fsdecode(path)
    raise InputError(f"a list of images holds paths; {path!r} is a {type(path).__name__}")


def _labelled(rows: list[Row], labels: Sequence[Any] | None) -> list[Row]:
    if labels is None:
        return rows
    if len(labels) != len(rows):
        raise InputError(
            f"{len(labels)} labels for {len(rows)} paths; give one each, None where not known"
        )
    return [Row(row.path, label_of(label)) for row, label in zip(rows, labels, strict=True)]


def _verdicts(
    images: Images, max_pixels: int, store: Remembers | None, progress: Progress
) -> dict[str, Verdict]:
    """What decoding says of the used images: those that failed, by digest."""
    known = store.verdicts([row.digest for row in images.used]) if store else {}
    todo = [row for row in images.used if row.digest not in known]

    def verdict(row: Row) -> tuple[str, Verdict, bool]:
        try:
            decode(images.file(row), max_pixels)
        except Refused as refused:
            # What hangs on a limit or on the moment is found anew each time.
            lasting = refused.lasting and refused.reason in ("truncated", "unreadable")
            return row.digest, (refused.reason, refused.detail), lasting
        return row.digest, ("", ""), True

    fresh: dict[str, Verdict] = {}
    with progress("decoding", len(todo)) as advance, quiet():
        try:
            for digest, said, lasting in _threaded(verdict, todo, advance):
                known[digest] = said
                fresh.update({digest: said} if lasting else {})
                if store and len(fresh) == BATCH * BATCHES:
                    store.put_verdicts(fresh)
                    fresh.clear()
        finally:
            if store and fresh:
                store.put_verdicts(fresh)
    return {digest: said for digest, said in known.items() if said[0]}


def _threaded(work: Callable[[T], U], items: Sequence[T], advance: Advance) -> Iterator[U]:
    """`work` on each item, in order, by as many threads as there are cores; stops when told."""
    threads = os.cpu_count() or 1
    batches = (items[i : i + BATCH] for i in range(0, len(items), BATCH))
    pool = ThreadPoolExecutor(threads)
    try:
        yield from _in_order(pool, lambda batch: [work(item) for item in batch], batches, advance)
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(
    pool: ThreadPoolExecutor,
    work: Callable[[Sequence[T]], list[U]],
    batches: Iterator[Sequence[T]],
    advance: Advance,
) -> Iterator[U]:
    waiting = deque(pool.submit(work, batch) for batch in islice(batches, BATCHES))
    while waiting:
        done = waiting.popleft().result()
        waiting.extend(pool.submit(work, batch) for batch in islice(batches, 1))
        yield from done
        advance(len(done))


def _nothing(name: str, images: Images) -> InputError:
    """Why there is no image at all."""
    found = Counter(row.reason for row in images.rows)
    example = shown(images.rows[0].path)
    if set(found) == {"missing"}:
        start = "" if images.root is None else f" in {shown(images.root)}"
        return InputError(
            f"none of the {len(images.rows)} files that {name} lists is there (first: {example}, "
            f"looked for{start}); correct the paths"
        )
    told = ", ".join(f"{n} {reason}" for reason, n in found.most_common())
    return NoImages(
        f"none of the {len(images.rows)} files in {name} can be used as an image ({told}; "
        f"for example {example}); JPEG, PNG, WebP, GIF, BMP and TIFF are read"
    )
