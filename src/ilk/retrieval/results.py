"""The images that were found: paths, labels, similarity, and which are copies of the query."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.images.duplicates.near_duplicates import (
    MAX_BITS,
    MAX_DISTANCE,
    MIN_CONTRAST,
    SAME_DISTANCE,
    SHARE,
    standardize,
)
from ilk.images.duplicates.perceptual_hash import (
    compute_hashes,
    count_differing_bits,
    measure_contrast,
    stack_thumbnails,
)
from ilk.images.inspection.pixel_summary import PixelSummary

SAME_FILE, SAME_PIXELS, NEAR = "same bytes", "same pixels", "nearly the same picture"
FIELDS = ("path", "label", "similarity", "rank", "query", "copy", "id", "digest")


@dataclass(frozen=True)
class Hit:
    """An image that was found.

    Attributes:
        rank: Its place, from 1.
        id: Its id in the index.
        path: Its path.
        label: Its label; "" if unknown.
        similarity: Cosine with the query, after the projection if there is one, in [-1, 1].
        digest: SHA-256 of its bytes.
        copy: What it shares with the query: same bytes, same pixels, nearly the same picture; "".
        others: Paths of other files with the same bytes.
    """

    rank: int
    id: int
    path: str
    label: str
    similarity: float
    digest: str
    copy: str = ""
    others: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The answer to one query.

    Attributes:
        query: The query in words.
        hits: What was found, best first.
        n_images: Number of images that were searched.
        left_out: Path of the query itself if it lies among them and is left out; "" otherwise.
        notes: Notes on the search: kind of index, recall, projection.
        find_picture: Returns the image of a digest if it is not just the file at its path.
        pictures: Role (asked, like or unlike), name and image of what was asked.
        measure: What `Hit.similarity` is: similarity, or the probability of a class.
    """

    query: str
    hits: tuple[Hit, ...]
    n_images: int
    left_out: str = ""
    notes: tuple[str, ...] = ()
    find_picture: Callable[[str], Any] = lambda _digest: None
    pictures: tuple[tuple[str, str, Any], ...] = ()
    measure: str = "similarity"

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Any:
        return iter(self.hits)

    @property
    def labels(self) -> dict[str, int]:
        """How often each label occurs among the hits, the most frequent first."""
        names = [name for hit in self.hits if hit.label for name in hit.label.split("; ")]
        return dict(Counter(names).most_common())

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "query": self.query,
            "measure": self.measure,
            "images": self.n_images,
            "left_out": self.left_out or None,
            "labels": self.labels,
            "hits": [asdict(hit) for hit in self.hits],
        }


def find_copies(
    digests: Sequence[str],
    found: Sequence[PixelSummary | None],
    asked: Sequence[tuple[str, PixelSummary]],
) -> list[str]:
    """Return what each image that was found shares with one of those that were asked, or "".

    Nearly the same pictures are those of `ilk.images.duplicates.near_duplicates`: perceptual hashes
    that differ in few bits, and thumbnails that are close, also compared with the farthest of those
    that were found, because some collections hold only pictures that look alike.

    Args:
        digests: Digests of the files that were found.
        found: Their pixels; None for one that cannot be read any more.
        asked: Digest and pixels of each image of the query.
    """
    copies = [""] * len(digests)
    for digest, summary in asked:
        near = _find_near(summary, found)
        for i, one in enumerate(found):
            if digests[i] == digest:
                copies[i] = SAME_FILE
            elif one is not None and one.digest == summary.digest:
                copies[i] = copies[i] or SAME_PIXELS
            elif near[i]:
                copies[i] = copies[i] or NEAR
    return copies


def _find_near(query: PixelSummary, found: Sequence[PixelSummary | None]) -> NDArray[np.bool_]:
    """Return which pictures are nearly the same as a query's, `[n]`."""
    near = np.zeros(len(found), np.bool_)
    known = [i for i, one in enumerate(found) if one is not None]
    if not known:
        return near
    thumbnails = stack_thumbnails([query.thumbnail, *(s.thumbnail for s in found if s is not None)])
    contrast, hashes = measure_contrast(thumbnails), compute_hashes(thumbnails)
    x = standardize(thumbnails)
    distance = np.linalg.norm(x[1:] - x[0], axis=1)
    limit = max(SAME_DISTANCE, min(MAX_DISTANCE, SHARE * float(distance.max())))
    bits = count_differing_bits(hashes[1:], hashes[0])
    has_contrast = np.minimum(contrast[1:], contrast[0]) >= MIN_CONTRAST
    near[known] = (bits <= MAX_BITS) & (distance <= limit) & has_contrast
    return near


def list_rows(results: Sequence[SearchResult]) -> list[tuple[Any, ...]]:
    """Return the cells of a table, one line per hit, in the order of `FIELDS`."""
    return [
        (
            hit.path,
            hit.label,
            f"{hit.similarity:.6f}",
            hit.rank,
            result.query,
            hit.copy,
            hit.id,
            hit.digest,
        )
        for result in results
        for hit in result.hits
    ]
