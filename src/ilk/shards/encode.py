"""Encode shards: from rows of the manifest to parts, whatever calls it.

`encode_shard` is the step that the local pool, the jobs of a job array and the workers of a cluster
share. It reads the manifest and images, writes one part, and changes nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.busy_time import BusyTime
from ilk.core.capabilities import Embeds
from ilk.core.errors import InputError
from ilk.encode.encode_task import NETWORK, check_finite, prepare_row
from ilk.encode.map_tasks import map_tasks
from ilk.hub.preprocessing import PixelArray
from ilk.images import MAX_PIXELS, ImageError, Images, Row, escape_path
from ilk.images.inspection.pixel_summary import PixelSummary
from ilk.shards.manifest import Manifest
from ilk.shards.parts import Part, PartRows, check_part, write_part
from ilk.shards.spaces import ShardSpace, open_space

WRITING = "writing"
MIN_UNREADABLE = 20  # images of a shard; if none of them can be read, the machine is at fault
Meter = Callable[[int, Mapping[str, float]], None]
"""`meter(n_images, seconds)`: images done since the last call, busy seconds by kind of work."""


def ignore(_n: int, _seconds: Mapping[str, float]) -> None:
    """Report nothing."""


def encode_shard(
    folder: str | os.PathLike[str],
    i: int,
    encoder: Embeds,
    *,
    dtype: str = "float32",
    n_threads: int | None = 1,
    again: bool = False,
    meter: Meter = ignore,
) -> Part:
    """Encode shard `i` of a shard folder, unless its part is there, and return its part.

    It reads only the manifest and the images of the shard, and writes only the part: any number of
    processes may do so at once, also with the same shard, and may be killed.

    Args:
        folder: The shard folder.
        i: Number of the shard, from 0.
        encoder: The encoder.
        dtype: How features are stored: float32 or float16.
        n_threads: Threads that read, decode and encode; None is one per core.
        again: Encode a part that is there again if some of its images could not be read at that
            time.
        meter: Called with the number of images done and busy seconds, as they come.

    Returns:
        The part. An image that cannot be used is a row with its reason.

    Raises:
        InputError: The encoder returned a feature that is not finite, or there is no such shard.
        ArtifactError: The part is of other images or weights.
        OutputError: The part cannot be written.
    """
    (part,) = encode_shards(
        folder, [i], encoder, dtype=dtype, n_threads=n_threads, again=again, meter=meter
    )
    return part


def encode_shards(
    folder: str | os.PathLike[str],
    numbers: Sequence[int],
    encoder: Embeds,
    *,
    dtype: str = "float32",
    n_threads: int | None = None,
    again: bool = False,
    meter: Meter = ignore,
    log: Callable[[str], None] = lambda _line: None,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[Part]:
    """Encode shards one after another, as `encode_shard`, with no core idle between them.

    Memory does not grow with the number of images: few batches and one part are held.

    Yields:
        The part of each shard, in the order of `numbers`.
    """
    manifest = Manifest.read(folder)
    if wrong := [i for i in numbers if not 0 <= i < manifest.n_shards]:
        raise IndexError(f"there is no shard {wrong[0]} of {manifest.n_shards}")
    space = open_space(manifest.folder, encoder, dtype)
    work = _Work(manifest, space, encoder, max_pixels, again, log)
    shard: _Shard | None = None
    for step in map_tasks(work.list_steps(numbers), n_threads):
        if isinstance(step, Part):
            meter(step.n, step.seconds)
            yield step
            continue
        shard = shard or _Shard(work, step.shard)
        shard.add(step)
        meter(len(step.positions), step.seconds)
        if step.is_last:
            part = shard.write()
            meter(shard.n_unused, {WRITING: part.seconds[WRITING]})
            shard = None
            yield part


@dataclass
class _Step:
    """What a few rows of a shard became."""

    shard: int
    positions: list[int]  # within the shard, of rows that were tried
    is_last: bool
    encoded: list[int] = field(default_factory=list)  # positions with features
    features: NDArray[Any] | None = None
    failures: dict[int, tuple[str, str]] = field(default_factory=dict)
    transient: int = 0
    summaries: dict[int, PixelSummary] = field(default_factory=dict)
    contrast: dict[int, tuple[float, float]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass
class _Work:
    """What all steps share."""

    manifest: Manifest
    space: ShardSpace
    encoder: Embeds
    max_pixels: int
    again: bool
    log: Callable[[str], None]
    is_loaded: bool = False

    def list_steps(self, numbers: Sequence[int]) -> Iterator[Callable[[], Part | _Step]]:
        """Yield the calls for all shards; each is looked at when its turn comes."""
        for i in numbers:
            _, part = check_part(self.manifest, self.space, i)
            if part is not None and not (self.again and part.n_transient):
                yield partial(_identity, part)
                continue
            if not self.is_loaded:
                self.encoder.load()
                self.is_loaded = True
                if note := getattr(self.encoder, "runtime_note", ""):
                    self.log(f"{self.encoder.name} runs on {note}")
            images = self.manifest.open_shard(i)
            used = [p for p, row in enumerate(images.rows) if row.status == "used"]
            size = max(1, self.encoder.batch_size)
            for start in range(0, max(len(used), 1), size):
                positions = used[start : start + size]
                is_last = start + size >= len(used)
                yield partial(self.encode_rows, i, images, positions, is_last)

    def encode_rows(self, i: int, images: Images, positions: list[int], is_last: bool) -> _Step:
        """Read, decode and encode a few rows of shard `i`."""
        step, busy = _Step(i, positions, is_last), BusyTime()
        pixels: list[PixelArray] = []
        for p in positions:
            try:
                done = prepare_row(
                    images,
                    images.rows[p],
                    [self.encoder],
                    self.max_pixels,
                    summarize=True,
                    busy=busy,
                )
            except ImageError as error:
                step.failures[p] = (error.reason, error.detail)
                step.transient += not error.is_permanent
                continue
            step.encoded.append(p)
            pixels.append(done.arrays[0])
            if done.summary is not None:
                step.summaries[p] = done.summary
            step.contrast.update((p, values) for values in done.contrast.values())
        if pixels:
            with busy.measure(NETWORK):
                step.features = self.encoder.embed(np.stack(pixels))
            check_finite(self.encoder, [images.rows[p] for p in step.encoded], step.features)
        step.seconds = busy.seconds
        return step


def _identity(part: Part) -> Part:
    return part


class _Shard:
    """The rows of one shard, as they come."""

    def __init__(self, work: _Work, i: int) -> None:
        self._work, self._i = work, i
        self._rows: list[Row] = work.manifest.rows(i)
        n = len(self._rows)
        dtype = np.dtype(work.space.dtype)
        self._features = np.zeros((n, work.space.d), dtype)
        self._steps: list[_Step] = []
        self.n_unused = n

    def add(self, step: _Step) -> None:
        """Keep what a step gave; its features are copied."""
        if step.features is not None:
            with np.errstate(over="ignore"):
                self._features[step.encoded] = step.features
            is_finite = np.isfinite(self._features[step.encoded]).all(1)
            if not is_finite.all():
                path = self._rows[step.encoded[int(np.argmin(is_finite))]].path
                raise InputError(
                    f"the features of {escape_path(path)} do not fit into {self._features.dtype}; "
                    "encode into another folder with --dtype float32"
                )
            step.features = None
        self.n_unused -= len(step.positions)
        self._steps.append(step)

    def write(self) -> Part:
        """Write the part.

        Raises:
            InputError: No image can be read, as on a machine where their disk is missing.
        """
        n_transient = sum(step.transient for step in self._steps)
        n_tried = sum(len(step.positions) for step in self._steps)
        if n_transient == n_tried >= MIN_UNREADABLE:
            row, first = next(
                (self._rows[p], why) for step in self._steps for p, why in step.failures.items()
            )
            raise InputError(
                f"none of the {n_tried} images of shard {self._i} can be read on this machine "
                f"(first: {escape_path(row.path)}, {first[0]}: {first[1]}); check that the disk "
                f"of {escape_path(self._work.manifest.base)} is there, and run the command again"
            )
        busy = BusyTime()
        for step in self._steps:
            busy.seconds.update(step.seconds)
        n = len(self._rows)
        reason: list[str | None] = [row.reason or None for row in self._rows]
        detail: list[str | None] = [row.detail or None for row in self._rows]
        digests: list[str | None] = [None] * n
        thumbnails: list[bytes | None] = [None] * n
        contrast: list[tuple[float, float] | None] = [None] * n
        for step in self._steps:
            for p, (why, more) in step.failures.items():
                reason[p], detail[p] = why, more
            for p, summary in step.summaries.items():
                digests[p], thumbnails[p] = summary.digest, summary.thumbnail
            for p, values in step.contrast.items():
                contrast[p] = values
        rows = PartRows(
            [row.digest for row in self._rows],
            reason,
            detail,
            self._features,
            digests,
            thumbnails,
            contrast,
        )
        with busy.measure(WRITING):
            part = write_part(
                self._work.manifest,
                self._work.space,
                self._i,
                rows,
                n_transient,
            )
        return replace(part, seconds=dict(busy.seconds))
