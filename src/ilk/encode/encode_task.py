"""Decode and encode a few files: the work of one thread, and its result."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from ilk.core.busy_time import BusyTime
from ilk.core.capabilities import Embeds
from ilk.core.data import Features
from ilk.core.errors import InputError
from ilk.hub.preprocessing import PixelArray
from ilk.images import ImageError, Images, Row, decode, escape_path
from ilk.images.decoding.derived_digest import is_digest_of
from ilk.images.decoding.memory import pixel_budget
from ilk.images.decoding.open_file import open_file
from ilk.images.inspection.contents import count_pixels, decode_content
from ilk.images.inspection.pixel_summary import PixelSummary, summarize_pixels
from ilk.images.value_ranges.contrast import CONTRAST, find_low_contrast
from ilk.store import Store

READING, DECODING, NETWORK = "reading", "decoding", "network"  # kinds of work
Failures = dict[str, tuple[str, str]]  # digest: reason, detail


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


@dataclass(frozen=True)
class PreparedRow:
    """A decoded row: what each encoder takes, the summary of its pixels, and low contrast."""

    arrays: list[PixelArray]
    summary: PixelSummary | None
    contrast: Mapping[str, tuple[float, float]]


def encode_task(task: EncodeTask) -> EncodedBatch:
    """Decode and encode a few files."""
    batch = EncodedBatch(n_files=len(task.rows))
    prepared: dict[int, tuple[Embeds, list[Row], list[PixelArray]]] = {}
    for row, encoders in task.rows:
        try:
            done = prepare_row(
                task.images,
                row,
                encoders,
                task.max_pixels,
                summarize=row.digest in task.unsummarized,
            )
        except ImageError as error:
            batch.failures[row.digest] = (error.reason, error.detail)
            if error.is_permanent:
                batch.permanent.add(row.digest)
            continue
        batch.contrast.update(done.contrast)
        if done.summary is not None:
            batch.summaries[row.digest] = done.summary
        for encoder, array in zip(encoders, done.arrays, strict=True):
            _, rows, pixels = prepared.setdefault(id(encoder), (encoder, [], []))
            rows.append(row)
            pixels.append(array)
    for encoder, rows, pixels in prepared.values():
        features = encoder.embed(np.stack(pixels))
        check_finite(encoder, rows, features)
        batch.features.append((encoder, [row.digest for row in rows], features))
    return batch


def prepare_row(
    images: Images,
    row: Row,
    encoders: Sequence[Embeds],
    max_pixels: int,
    *,
    summarize: bool,
    busy: BusyTime | None = None,
) -> PreparedRow:
    """Decode a row, and prepare it for each encoder.

    Args:
        images: Where it is read from.
        row: The row.
        encoders: What it is prepared for.
        max_pixels: Width × height above which it is refused.
        summarize: Whether its pixels are summarized.
        busy: Where the seconds of `reading` and `decoding` are added.

    Raises:
        ImageError: The image cannot be decoded, is too large to be resized, or has changed.
    """
    busy = busy or BusyTime()
    with pixel_budget.reserve(count_pixels(row)):
        image = _decode_row(images, row, max_pixels, busy)
        try:
            with busy.measure(DECODING):
                return PreparedRow(
                    [encoder.prepare(image) for encoder in encoders],
                    summarize_pixels(image) if summarize else None,
                    find_low_contrast(row, image),
                )
        except MemoryError:
            raise ImageError(
                "too large", "more than this machine's memory", is_permanent=False
            ) from None


def _decode_row(images: Images, row: Row, max_pixels: int, busy: BusyTime) -> Image.Image:
    """Return the image of a row, if its content is unchanged since intake."""
    with busy.measure(READING):
        in_memory = images.contents.get(row.digest)
    if in_memory is not None:
        with busy.measure(DECODING):
            return decode_content(in_memory, row.digest, max_pixels, **row.reading)
    with busy.measure(READING):
        with open_file(images.path_of(row)) as (source, _):
            content = source.read()
        digest = hashlib.sha256(content).hexdigest()
    if not is_digest_of(row.digest, digest, row.page, row.value_range):
        raise ImageError(
            "unreadable", "the file has changed since it was listed", is_permanent=False
        )
    with busy.measure(DECODING):
        return decode(content, max_pixels, **row.reading)


def check_finite(encoder: Embeds, rows: Sequence[Row], features: Features) -> None:
    """Raise InputError if a feature of `[n, d]` is not finite; the message names the image."""
    finite = np.isfinite(features).all(1)
    if not finite.all():
        path = escape_path(rows[int(np.argmin(finite))].path)
        raise InputError(
            f"{encoder.name} returned features that are not finite for {path}; "
            "use another encoder, or --precision float32"
        )
