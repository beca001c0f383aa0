"""Fill the feature store: each file is decoded once for all encoders that need it.

One thread per core takes a few files at a time and does everything for them: read, decode, resize,
and run the network on that core. Pillow and torch release Python's
lock, so threads do not wait for each other, and no core idles while another decodes. (A network
that uses all cores next to decoding threads slows down both: its threads spin while one of them is
preempted.)
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from PIL import Image

from ilk.core.capabilities import Embeds, list_parts
from ilk.core.data import Features
from ilk.core.errors import InputError, OutputError
from ilk.core.progress import Progress, silent_progress
from ilk.core.worker_threads import Task, WorkerThreads
from ilk.hub.preprocessing import PixelArray
from ilk.images import MAX_PIXELS, ImageError, Images, Row, decode, escape_path
from ilk.images.decoding.derived_digest import is_digest_of
from ilk.images.decoding.memory import pixel_budget
from ilk.images.decoding.open_file import open_file
from ilk.images.duplicates.pixel_duplicates import refuse_pixel_duplicates
from ilk.images.inspection.contents import count_pixels, decode_content
from ilk.images.inspection.pixel_summary import PixelSummary, summarize_pixels
from ilk.images.value_ranges.contrast import CONTRAST, find_low_contrast, note_contrast
from ilk.store import Store

Failures = dict[str, tuple[str, str]]  # digest: reason, detail

COMMIT_SECONDS = 1.0  # bounds the work lost by a kill, besides the batches in progress
COMMIT_VALUES = 2**23  # 32 MB of features; committed at whichever limit is reached first
DECODE_BATCH_SIZE = 16  # files per task that are decoded only
TASKS_PER_THREAD = 3  # tasks per thread that are running, or done and not collected


@dataclass(frozen=True)
class EncodeTask:
    """Files, the encoders that need each, and the digests of those whose pixels are summarized."""

    images: Images
    rows: Sequence[tuple[Row, tuple[Embeds, ...]]]
    max_pixels: int
    unsummarized: Set[str] = frozenset()


@dataclass
class EncodedBatch:
    """Features to be stored, and files that could not be decoded."""

    features: list[tuple[Embeds, list[str], Features]] = field(default_factory=list)
    failures: Failures = field(default_factory=dict)
    permanent: set[str] = field(default_factory=set)  # failures that will be the same next time
    n_files: int = 0
    contrast: dict[str, tuple[float, float]] = field(default_factory=dict)  # of near-constant ones
    summaries: dict[str, PixelSummary] = field(default_factory=dict)  # not yet written

    def merge(self, other: EncodedBatch) -> None:
        """Add the results of another batch."""
        self.features += other.features
        self.failures |= other.failures
        self.permanent |= other.permanent
        self.n_files += other.n_files
        self.contrast |= other.contrast
        self.summaries |= other.summaries

    def commit(self, store: Store) -> None:
        """Write the features and release them; a failed write is not retried."""
        features, self.features = self.features, []
        permanent, self.permanent = self.permanent, set()
        summaries, self.summaries = self.summaries, {}
        if summaries:  # first, because a file whose features are stored is not decoded again
            store.put_pixel_summaries(summaries)
        for encoder in {id(e): e for e, _, _ in features}.values():
            parts = [(digests, rows) for e, digests, rows in features if e is encoder]
            digests = [d for part, _ in parts for d in part]
            store.put(encoder.space, digests, np.concatenate([rows for _, rows in parts]))
        if permanent:
            store.put_decode_results({digest: self.failures[digest] for digest in permanent})
        contrast, self.contrast = self.contrast, {}
        if contrast:
            store.put_measurements(CONTRAST, contrast)

    def count_values(self) -> int:
        """Return the number of feature values that are not yet written."""
        return sum(rows.size for _, _, rows in self.features)


def encode_images(
    images: Images,
    encoders: Sequence[Embeds],
    store: Store,
    *,
    progress: Progress = silent_progress,
    max_pixels: int = MAX_PIXELS,
    log: Callable[[str], None] = lambda _line: None,
    need_summaries: bool = False,
) -> Failures:
    """Encode every used image that `store` lacks, for each of `encoders`.

    What is decoded also gets a summary of its pixels (`ilk.images.inspection.pixel_summary`). With
    `need_summaries`, images that lack nothing else are decoded for it: in stores of older versions.

    Rows are committed about once per second: after Ctrl-C, a kill or a full disk, the next call
    resumes there. Apart from the list of images, memory does not grow with their number.
    `log` is called with what each network runs on.

    Returns:
        Files that could not be decoded, by digest: a reason of `ilk.images.REASONS` and details.

    Raises:
        InputError: An encoder returned a feature that is not finite; the message names the image.
        OutputError: The store cannot be written.
    """
    unsummarized = _find_unsummarized(images, store)
    missing = _find_missing(images, encoders, store, unsummarized if need_summaries else set())
    results = EncodedBatch(failures=_load_failures(store, list(missing)))
    rows = [pair for digest, pair in missing.items() if digest not in results.failures]
    active = list({id(e): e for _, encoders_missing in rows for e in encoders_missing}.values())
    if not rows:
        return results.failures
    for encoder in active:
        encoder.load()
        if note := getattr(encoder, "runtime_note", ""):
            log(f"{encoder.name} runs on {note}")
    size = max((encoder.batch_size for encoder in active), default=DECODE_BATCH_SIZE)
    tasks = (
        EncodeTask(images, rows[i : i + size], max_pixels, unsummarized)
        for i in range(0, len(rows), size)
    )
    with progress("encoding", len(rows)) as advance, _commit_on_exit(results, store):
        committed_at = time.monotonic()
        for batch in _map_tasks(tasks):
            results.merge(batch)
            advance(batch.n_files)
            if (
                time.monotonic() - committed_at > COMMIT_SECONDS
                or results.count_values() > COMMIT_VALUES
            ):
                results.commit(store)
                committed_at = time.monotonic()
    return results.failures


def encode_and_refuse(
    images: Images,
    encoders: Sequence[Embeds],
    store: Store,
    *,
    progress: Progress = silent_progress,
    log: Callable[[str], None] = lambda _line: None,
) -> Images:
    """Encode every used image, as `encode_images` does, and refuse what must not be used.

    Refused are files that cannot be decoded, and pictures that other files hold as well: the same
    pixels, whatever the bytes (`ilk.images.duplicates.pixel_duplicates`).

    Returns:
        The images with their final status.
    """
    failures = encode_images(
        images, encoders, store, progress=progress, log=log, need_summaries=True
    )
    return note_contrast(refuse_pixel_duplicates(images.refuse(failures), store), store)


def _find_unsummarized(images: Images, store: Store) -> set[str]:
    """Return the digests of used files whose pixels have no summary."""
    digests = {row.digest for row in images.used}
    return digests - store.get_pixel_digests(digests).keys()


def _find_missing(
    images: Images, encoders: Sequence[Embeds], store: Store, unsummarized: Set[str]
) -> dict[str, tuple[Row, tuple[Embeds, ...]]]:
    """Return the first row of each content that lacks anything, with the encoders that lack it."""
    rows: dict[str, Row] = {}
    for row in images.used:
        rows.setdefault(row.digest, row)
    spaces = {encoder.space.key: encoder for encoder in list_parts(encoders)}.values()
    missing = [(encoder, set(store.find_missing(encoder.space, rows))) for encoder in spaces]
    encoders_of = {d: tuple(e for e, absent in missing if d in absent) for d in rows}
    return {
        d: (row, encoders_of[d]) for d, row in rows.items() if encoders_of[d] or d in unsummarized
    }


def _load_failures(store: Store, digests: list[str]) -> Failures:
    """Return cached failures; the pixel limit may have changed since."""
    decode_results = store.get_decode_results(digests)
    return {
        d: (reason, detail)
        for d, (reason, detail) in decode_results.items()
        if reason and reason != "too large"
    }


@contextmanager
def _commit_on_exit(results: EncodedBatch, store: Store) -> Iterator[None]:
    """Commit finished work however it ends, unless the store itself failed."""
    try:
        yield
    except OutputError:
        raise
    except BaseException:
        results.commit(store)
        raise
    results.commit(store)


def _map_tasks(tasks: Iterator[EncodeTask]) -> Iterator[EncodedBatch]:
    """Yield results in order, from one thread per core, with few pending tasks at any time."""
    threads = count_cores()
    with limit_torch_threads() as start, WorkerThreads(threads, "encode", start) as pool:
        pending: deque[Task[EncodedBatch]] = deque()
        for task in tasks:
            pending.append(pool.submit(partial(_encode_task, task)))
            if len(pending) >= TASKS_PER_THREAD * threads:
                yield pool.get_result(pending.popleft())
        while pending:
            yield pool.get_result(pending.popleft())


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


@contextmanager
def limit_torch_threads() -> Iterator[Callable[[], None]]:
    """Return a thread initializer that limits torch to one core per thread."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 1
    try:
        yield lambda: torch.set_num_threads(1) if torch else None
    finally:
        if torch:
            torch.set_num_threads(before)


def _encode_task(task: EncodeTask) -> EncodedBatch:
    """Decode and encode a few files."""
    batch = EncodedBatch(n_files=len(task.rows))
    prepared: dict[int, tuple[Embeds, list[Row], list[PixelArray]]] = {}
    for row, encoders in task.rows:
        try:
            arrays, summary = _prepare_row(task, row, encoders, batch)
        except ImageError as error:
            batch.failures[row.digest] = (error.reason, error.detail)
            if error.is_permanent:
                batch.permanent.add(row.digest)
            continue
        if summary is not None:
            batch.summaries[row.digest] = summary
        for encoder, array in zip(encoders, arrays, strict=True):
            _, rows, pixels = prepared.setdefault(id(encoder), (encoder, [], []))
            rows.append(row)
            pixels.append(array)
    for encoder, rows, pixels in prepared.values():
        features = encoder.embed(np.stack(pixels))
        _check_finite(encoder, rows, features)
        batch.features.append((encoder, [row.digest for row in rows], features))
    return batch


def _prepare_row(
    task: EncodeTask, row: Row, encoders: Sequence[Embeds], batch: EncodedBatch
) -> tuple[list[PixelArray], PixelSummary | None]:
    """Decode a row; return what each encoder takes and the summary of its pixels, if it lacks one.

    Raises:
        ImageError: The image cannot be decoded, or is too large to be resized.
    """
    with pixel_budget.reserve(count_pixels(row)):
        image = _decode_row(task, row)
        batch.contrast.update(find_low_contrast(row, image))
        try:
            summary = summarize_pixels(image) if row.digest in task.unsummarized else None
            return [encoder.prepare(image) for encoder in encoders], summary
        except MemoryError:
            raise ImageError(
                "too large", "more than this machine's memory", is_permanent=False
            ) from None


def _decode_row(task: EncodeTask, row: Row) -> Image.Image:
    """Return the image of a row, if its content is unchanged since intake."""
    if (in_memory := task.images.contents.get(row.digest)) is not None:
        return decode_content(in_memory, row.digest, task.max_pixels, **row.reading)
    with open_file(task.images.path_of(row)) as (source, _):
        content = source.read()
    digest = hashlib.sha256(content).hexdigest()
    if not is_digest_of(row.digest, digest, row.page, row.value_range):
        raise ImageError(
            "unreadable", "the file has changed since it was listed", is_permanent=False
        )
    return decode(content, task.max_pixels, **row.reading)


def _check_finite(encoder: Embeds, rows: list[Row], features: Features) -> None:
    finite = np.isfinite(features).all(1)
    if not finite.all():
        path = escape_path(rows[int(np.argmin(finite))].path)
        raise InputError(
            f"{encoder.name} returned features that are not finite for {path}; "
            "use another encoder, or --precision float32"
        )
