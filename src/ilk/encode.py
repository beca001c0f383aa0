"""Fill the store: every file is decoded once for all encoders that lack it.

Each of as many threads as there are cores takes a few files at a time and does everything for them:
read, decode, resize, run the network on that one core. Pillow and torch let go of Python's lock, so
the threads do not wait for one another, and no core idles while another decodes. (A network spread
over all cores beside threads that decode makes both wait: its threads spin while one is displaced.)
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from ilk.data import Features
from ilk.encoders import Embeds
from ilk.encoders.preprocess import Pixels
from ilk.errors import InputError, OutputError
from ilk.images import MAX_PIXELS, Images, Refused, Row, decode, shown
from ilk.images.files import opened
from ilk.progress import Progress, silent
from ilk.store import Store

Failures = dict[str, tuple[str, str]]  # digest: reason, detail

COMMIT_SECONDS = 1.0  # what a kill costs at most, beside the batches under way
COMMIT_NUMBERS = 2**23  # or 32 MB of features, whichever comes first
WAITING = 3  # tasks per thread that are under way or done and not yet collected


@dataclass(frozen=True)
class Task:
    """Files and, for each, the encoders that lack it."""

    images: Images
    rows: Sequence[tuple[Row, tuple[Embeds, ...]]]
    max_pixels: int


@dataclass
class Harvest:
    """Features on their way to the store, and what could not be decoded."""

    features: list[tuple[Embeds, list[str], Features]] = field(default_factory=list)
    failures: Failures = field(default_factory=dict)
    lasting: set[str] = field(default_factory=set)  # failures that will be the same next time
    count: int = 0

    def take(self, other: Harvest) -> None:
        """Add what another one gathered."""
        self.features += other.features
        self.failures |= other.failures
        self.lasting |= other.lasting
        self.count += other.count

    def commit(self, store: Store) -> None:
        """Write and forget the features; what fails is not tried again."""
        features, self.features = self.features, []
        lasting, self.lasting = self.lasting, set()
        for encoder in {id(e): e for e, _, _ in features}.values():
            parts = [(digests, rows) for e, digests, rows in features if e is encoder]
            digests = [d for part, _ in parts for d in part]
            store.put(encoder.space, digests, np.concatenate([rows for _, rows in parts]))
        if lasting:
            store.put_verdicts({digest: self.failures[digest] for digest in lasting})

    def numbers(self) -> int:
        return sum(rows.size for _, _, rows in self.features)


def fill(
    images: Images,
    encoders: Sequence[Embeds],
    store: Store,
    *,
    progress: Progress = silent,
    max_pixels: int = MAX_PIXELS,
) -> Failures:
    """Encode every used image that `store` lacks, for each of `encoders`.

    Rows reach the store about every second: after Ctrl-C, a kill or a full disk, the next call goes
    on from there. Memory does not grow with the number of images, but for the list of them.

    Returns:
        What could not be decoded, by digest: a reason of `ilk.images.REASONS`, and a detail.

    Raises:
        InputError: An encoder gave a feature that is not finite; names the image.
        OutputError: The store cannot be written.
    """
    lacking = _lacking(images, encoders, store)
    harvest = Harvest(failures=_known(store, list(lacking)))
    rows = [pair for digest, pair in lacking.items() if digest not in harvest.failures]
    needed = list({id(e): e for _, lack in rows for e in lack}.values())
    if not rows:
        return harvest.failures
    for encoder in needed:
        encoder.load()
    size = max(encoder.batch for encoder in needed)
    tasks = (Task(images, rows[i : i + size], max_pixels) for i in range(0, len(rows), size))
    with progress("encoding", len(rows)) as advance, _saved(harvest, store):
        told = time.monotonic()
        for part in _abreast(tasks):
            harvest.take(part)
            advance(part.count)
            if time.monotonic() - told > COMMIT_SECONDS or harvest.numbers() > COMMIT_NUMBERS:
                harvest.commit(store)
                told = time.monotonic()
    return harvest.failures


def _lacking(
    images: Images, encoders: Sequence[Embeds], store: Store
) -> dict[str, tuple[Row, tuple[Embeds, ...]]]:
    """The first row of each content that some encoder lacks, and which do."""
    rows: dict[str, Row] = {}
    for row in images.used:
        rows.setdefault(row.digest, row)
    spaces = {encoder.space.key: encoder for encoder in encoders}.values()
    missing = [(encoder, set(store.missing(encoder.space, rows))) for encoder in spaces]
    lack = {d: tuple(e for e, without in missing if d in without) for d in rows}
    return {d: (row, lack[d]) for d, row in rows.items() if lack[d]}


def _known(store: Store, digests: list[str]) -> Failures:
    """What is known to give no image; the limit on pixels may be another one now."""
    said = store.verdicts(digests)
    return {d: (why, more) for d, (why, more) in said.items() if why and why != "too large"}


@contextmanager
def _saved(harvest: Harvest, store: Store) -> Iterator[None]:
    """Commit what is done however the work ends, unless it is the store that failed."""
    try:
        yield
    except OutputError:
        raise
    except BaseException:
        harvest.commit(store)
        raise
    harvest.commit(store)


def _abreast(tasks: Iterator[Task]) -> Iterator[Harvest]:
    """Results in order, from one thread a core, with few tasks under way at any time."""
    threads = cores()
    with _one_thread_each() as start, ThreadPoolExecutor(threads, "encode", start) as pool:
        under_way: deque[Future[Harvest]] = deque()
        try:
            for task in tasks:
                under_way.append(pool.submit(_encode, task))
                if len(under_way) >= WAITING * threads:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


@contextmanager
def _one_thread_each() -> Iterator[Callable[[], None]]:
    """Gives what a thread runs first, so that torch keeps to one core within each of them."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 1
    try:
        yield lambda: torch.set_num_threads(1) if torch else None
    finally:
        if torch:
            torch.set_num_threads(before)


def _encode(task: Task) -> Harvest:
    """Decode and encode a few files."""
    done = Harvest(count=len(task.rows))
    ready: dict[int, tuple[Embeds, list[Row], list[Pixels]]] = {}
    for row, lack in task.rows:
        try:
            image = _decoded(task, row)
        except Refused as refused:
            done.failures[row.digest] = (refused.reason, refused.detail)
            if refused.lasting:
                done.lasting.add(row.digest)
            continue
        for encoder in lack:
            _, rows, pixels = ready.setdefault(id(encoder), (encoder, [], []))
            rows.append(row)
            pixels.append(encoder.prepare(image))
    for encoder, rows, pixels in ready.values():
        features = encoder.embed(np.stack(pixels))
        _check(encoder, rows, features)
        done.features.append((encoder, [row.digest for row in rows], features))
    return done


def _decoded(task: Task, row: Row) -> Image.Image:
    """The image of a row, if its file still holds what was read."""
    with opened(task.images.file(row)) as (source, _):
        content = source.read()
    if hashlib.sha256(content).hexdigest() != row.digest:
        raise Refused("unreadable", "the file has changed since it was listed", lasting=False)
    return decode(content, task.max_pixels)


def _check(encoder: Embeds, rows: list[Row], features: Features) -> None:
    good = np.isfinite(features).all(1)
    if not good.all():
        path = shown(rows[int(np.argmin(good))].path)
        raise InputError(
            f"{encoder.name} gives features that are not finite for {path}; "
            "take another encoder, or --precision float32"
        )
