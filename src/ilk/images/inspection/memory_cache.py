"""What decoding gave, kept in memory: in place of a store where there is none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ilk.images.inspection.pixel_summary import PixelSummary


class MemoryCache:
    """Decode results and summaries of pixels by digest of the file, as in `ilk.store.Store`."""

    def __init__(self) -> None:
        self._decode_results: dict[str, tuple[str, str]] = {}
        self._summaries: dict[str, PixelSummary] = {}
        self._measurements: dict[tuple[str, str], tuple[float, float]] = {}

    def get_decode_results(self, digests: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Return decode results: digest to (reason or "", detail)."""
        return {d: self._decode_results[d] for d in digests if d in self._decode_results}

    def put_decode_results(self, results: Mapping[str, tuple[str, str]]) -> None:
        """Keep decode results by digest."""
        self._decode_results.update(results)

    def get_measurements(self, name: str, digests: Iterable[str]) -> dict[str, tuple[float, float]]:
        """Return what was measured under a name, by digest."""
        known = self._measurements
        return {d: known[name, d] for d in digests if (name, d) in known}

    def put_measurements(self, name: str, values: Mapping[str, tuple[float, float]]) -> None:
        """Keep two numbers per image under a name."""
        self._measurements.update({(name, d): pair for d, pair in values.items()})

    def get_pixel_digests(self, digests: Iterable[str]) -> dict[str, str]:
        """Return the digests of pixels, by digest of the file."""
        return {d: self._summaries[d].digest for d in digests if d in self._summaries}

    def put_pixel_summaries(self, summaries: Mapping[str, PixelSummary]) -> None:
        """Keep summaries of pixels by digest of the file."""
        self._summaries.update(summaries)
