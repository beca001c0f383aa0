"""Decode every image of a source: find damage, the same picture twice, hardly any contrast."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from ilk.core import threaded_map as threads
from ilk.core.progress import Progress, silent_progress
from ilk.images.decoding.decode import decode
from ilk.images.decoding.formats import MAX_PIXELS, mute_pillow_warnings
from ilk.images.decoding.memory import pixel_budget
from ilk.images.duplicates.pixel_duplicates import refuse_pixel_duplicates
from ilk.images.inspection.contents import count_pixels
from ilk.images.inspection.memory_cache import MemoryCache
from ilk.images.inspection.pixel_summary import PixelSummary, summarize_pixels
from ilk.images.rows import Images, Row
from ilk.images.rows.refused import ImageError
from ilk.images.value_ranges.assign_ranges import MeasurementCache
from ilk.images.value_ranges.contrast import CONTRAST, find_low_contrast, note_contrast

DecodeResult = tuple[str, str]  # reason ("" if it can be decoded), detail


class DecodeCache(MeasurementCache, Protocol):
    """The part of a store that intake uses: what decoding gave, by content."""

    def get_decode_results(self, digests: Iterable[str], /) -> dict[str, DecodeResult]: ...
    def put_decode_results(self, results: dict[str, DecodeResult], /) -> None: ...
    def get_pixel_digests(self, digests: Iterable[str], /) -> Mapping[str, str]: ...
    def put_pixel_summaries(self, summaries: Mapping[str, PixelSummary], /) -> None: ...


def verify_images(
    images: Images,
    *,
    max_pixels: int = MAX_PIXELS,
    store: DecodeCache | None = None,
    progress: Progress = silent_progress,
) -> Images:
    """Decode every used image; refuse those that cannot be decoded and those that appear twice.

    The same picture in several files is found by its pixels; see `refuse_pixel_duplicates`.

    Args:
        images: Images to verify.
        max_pixels: Width × height above which an image is refused without decoding.
        store: Cache of decode results, so that no content is decoded twice.
        progress: Reports the number of decoded images.
    """
    cache = store if store is not None else MemoryCache()
    images = images.refuse(_find_failures(images, max_pixels, cache, progress))
    return note_contrast(refuse_pixel_duplicates(images, cache), cache)


def _find_failures(
    images: Images, max_pixels: int, cache: DecodeCache, progress: Progress
) -> dict[str, DecodeResult]:
    """Decode the used images; return the failures by digest. Summaries go to the cache."""
    digests = [row.digest for row in images.used]
    results, summarized = cache.get_decode_results(digests), cache.get_pixel_digests(digests)
    results = {d: result for d, result in results.items() if result[0] or d in summarized}
    pending = [row for row in images.used if row.digest not in results]

    def decode_row(row: Row) -> tuple[str, DecodeResult, bool, PixelSummary | None]:
        try:
            with pixel_budget.reserve(count_pixels(row)):
                image = decode(images.source_of(row), max_pixels, **row.reading)
                contrast.update(find_low_contrast(row, image))
                summary = summarize_pixels(image)
        except ImageError as error:
            # Results that depend on a limit or on the moment are not cached.
            permanent = error.is_permanent and error.reason in ("truncated", "unreadable")
            return row.digest, (error.reason, error.detail), permanent, None
        return row.digest, ("", ""), True, summary

    contrast: dict[str, tuple[float, float]] = {}
    unsaved: dict[str, DecodeResult] = {}
    summaries: dict[str, PixelSummary] = {}

    def save() -> None:
        cache.put_pixel_summaries(summaries)
        cache.put_decode_results(unsaved)
        summaries.clear()
        unsaved.clear()

    with progress("decoding", len(pending)) as advance, mute_pillow_warnings():
        try:
            for digest, result, permanent, summary in threads.map_threaded(
                decode_row, pending, advance
            ):
                results[digest] = result
                unsaved.update({digest: result} if permanent else {})
                summaries.update({digest: summary} if summary else {})
                if len(unsaved) >= threads.BATCH_SIZE * threads.MAX_PENDING_BATCHES:
                    save()
        finally:
            if unsaved or summaries:
                save()
            if contrast:
                cache.put_measurements(CONTRAST, contrast)
    return {digest: result for digest, result in results.items() if result[0]}
