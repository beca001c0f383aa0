"""Near-duplicates among the images of a source: which files, how far apart, and why it matters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ilk.images.duplicates.near_duplicates import find_near_duplicates
from ilk.images.duplicates.perceptual_hash import stack_thumbnails
from ilk.images.inspection.pixel_summary import PixelSummary
from ilk.images.rows import Row, escape_path

LEAK, CONFLICT, GROUPS = "train and test", "two labels", "two groups"
COPY, PARTLY, UNLABELLED = "one label", "one label and none", "no label"
CONCERNS = {
    LEAK: "between training and test images, so the test images are easier than new ones",
    CONFLICT: "under two labels, one of which may be wrong",
    GROUPS: "in two groups, which may be one",
    COPY: "with the same label",
    PARTLY: "with a label and without one",
    UNLABELLED: "without labels",
}
"""What copies concern, most serious first, and what that means."""
HARMLESS = frozenset({COPY, PARTLY, UNLABELLED})
"""Concerns of copies that contradict nothing: they only count more than once."""
MAX_LISTED = 1000  # pairs in a report


class PixelSummaries(Protocol):
    """The part of a store that knows summaries of pixels."""

    def get_pixel_summaries(self, digests: Iterable[str], /) -> Mapping[str, PixelSummary]: ...


@dataclass(frozen=True)
class NearPair:
    """Two files that are nearly the same picture.

    Attributes:
        first: Path of one; of a training and a test image, the training image.
        second: Path of the other.
        distance: Distance of their thumbnails, from 0 for the same to 2; see
            `ilk.images.duplicates.near_duplicates`.
        bits: Number of the 64 bits in which their perceptual hashes differ.
        concerns: One of `CONCERNS`.
    """

    first: str
    second: str
    distance: float
    bits: int
    concerns: str

    def __str__(self) -> str:
        """Return both paths and their distance."""
        names = f"{escape_path(self.first)} and {escape_path(self.second)}"
        return f"{names}, distance {self.distance:.3f}"


def find_near_pairs(rows: Sequence[Row], store: PixelSummaries) -> list[NearPair]:
    """Return the near-duplicates among images, the most serious first, then the nearest.

    Args:
        rows: The images that are used.
        store: Summaries of their pixels; images that it lacks take no part.
    """
    summaries = store.get_pixel_summaries(row.digest for row in rows)
    rows = [row for row in rows if row.digest in summaries]
    if len(rows) < 2:
        return []
    test = "test" if any(row.split == "test" for row in rows) else "val"
    found = find_near_duplicates(
        stack_thumbnails([summaries[row.digest].thumbnail for row in rows])
    )
    columns = (found.first.tolist(), found.second.tolist(), found.distance, found.bits.tolist())
    pairs = [
        _make_pair(rows[i], rows[j], float(distance), bits, test)
        for i, j, distance, bits in zip(*columns, strict=True)
    ]
    order = {name: i for i, name in enumerate(CONCERNS)}
    return sorted(pairs, key=lambda pair: (order[pair.concerns], pair.distance))


def _make_pair(first: Row, second: Row, distance: float, bits: int, test: str) -> NearPair:
    if first.split == test:
        first, second = second, first
    return NearPair(first.path, second.path, distance, bits, find_concern((first, second), test))


def find_concern(rows: Sequence[Row], test: str) -> str:
    """Return what copies of one picture concern, one of `CONCERNS`.

    Args:
        rows: Their rows, two or more.
        test: The split that is held out.
    """
    labels = {row.label if row.labels is None else row.labels for row in rows}
    if len({row.split == test for row in rows}) > 1:
        return LEAK
    if len(labels - {None}) > 1:
        return CONFLICT
    if len({row.group for row in rows} - {None}) > 1:
        return GROUPS
    if labels == {None}:
        return UNLABELLED
    return PARTLY if None in labels else COPY


def describe_near_pairs(pairs: Sequence[NearPair]) -> list[str]:
    """Return one sentence per concern, with the number of pairs and the nearest as an example."""
    counts = Counter(pair.concerns for pair in pairs)
    sentences = []
    for concern, meaning in CONCERNS.items():
        if n := counts[concern]:
            nearest = next(pair for pair in pairs if pair.concerns == concern)
            subject = "1 pair of images is" if n == 1 else f"{n:,} pairs of images are"
            sentences.append(f"{subject} nearly the same, {meaning} (for example {nearest})")
    return sentences


def near_pairs_to_json(pairs: Sequence[NearPair]) -> dict[str, Any]:
    """Return the number of pairs per concern, and the pairs, at most `MAX_LISTED`."""
    counts = Counter(pair.concerns for pair in pairs)
    return {
        "counts": {concern: counts[concern] for concern in CONCERNS},
        "pairs": [asdict(pair) for pair in pairs[:MAX_LISTED]],
    }
