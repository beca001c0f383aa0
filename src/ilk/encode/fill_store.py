"""Fill the feature store: each file is decoded once for all encoders that need it.

One thread per core takes a few files at a time and does everything for them: read, decode, resize,
and run the network on that core. Pillow and torch release Python's
lock, so threads do not wait for each other, and no core idles while another decodes. (A network
that uses all cores next to decoding threads slows down both: its threads spin while one of them is
preempted.)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from functools import partial

from ilk.core.capabilities import Embeds, list_parts
from ilk.core.errors import OutputError
from ilk.core.progress import Progress, silent_progress
from ilk.encode.derived import derive_features, replace_derived
from ilk.encode.encode_task import EncodedBatch, EncodeTask, Failures, encode_task
from ilk.encode.map_tasks import map_tasks
from ilk.images import MAX_PIXELS, Images, Row
from ilk.images.duplicates.pixel_duplicates import refuse_pixel_duplicates
from ilk.images.value_ranges.contrast import note_contrast
from ilk.store import Store

COMMIT_SECONDS = 1.0  # bounds the work lost by a kill, besides the batches in progress
COMMIT_VALUES = 2**23  # 32 MB of features; committed at whichever limit is reached first
DECODE_BATCH_SIZE = 16  # files per task that are decoded only


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
    failures = _encode_missing(
        images,
        replace_derived(list_parts(encoders)),
        store,
        progress,
        max_pixels,
        log,
        need_summaries,
    )
    derive_features(list_parts(encoders), [row.digest for row in images.used], store)
    return failures


def _encode_missing(
    images: Images,
    encoders: Sequence[Embeds],
    store: Store,
    progress: Progress,
    max_pixels: int,
    log: Callable[[str], None],
    need_summaries: bool,
) -> Failures:
    """As `encode_images`, for encoders that read images."""
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
    spaces = {encoder.space.key: encoder for encoder in encoders}.values()
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
    """Yield results in order, from one thread per core."""
    return map_tasks(partial(encode_task, task) for task in tasks)
