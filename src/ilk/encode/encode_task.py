"""Decode and encode a few files: the work of one thread, and its result."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence, Set
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

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


def encode_task(task: EncodeTask) -> EncodedBatch:
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
