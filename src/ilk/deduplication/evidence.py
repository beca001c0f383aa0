"""What shows that two files hold the same picture."""

from __future__ import annotations

from dataclasses import dataclass

CONTENT, PIXELS, HASH, FEATURES = "same content", "same pixels", "perceptual hash", "features"
KINDS = {
    CONTENT: "the same bytes",
    PIXELS: "the same pixels in another file",
    HASH: "thumbnails that are nearly the same, also mirrored or turned by 90°, and pixels that "
    "agree",
    FEATURES: "features that are nearly the same, and pixels of one that agree with a part of the "
    "other",
}
"""The kinds of evidence, the strongest first."""
ORDER = {kind: i for i, kind in enumerate(KINDS)}


@dataclass(frozen=True)
class Link:
    """Two files that hold the same picture.

    Attributes:
        first: Position of one file among the rows of the source.
        second: That of the other.
        evidence: One of `KINDS`.
        similarity: Correlation of the details of their pixels where they agree, at most 1.
        cosine: Cosine similarity of their features; None if it was not needed.
        share: Share of the larger picture's area that the other shows, up to 1.
        is_mirrored: Whether one is the mirror image of the other.
        score: Logarithm of the odds that they are the same picture; infinite for the same pixels.
    """

    first: int
    second: int
    evidence: str
    similarity: float = 1.0
    cosine: float | None = None
    share: float = 1.0
    is_mirrored: bool = False
    score: float = float("inf")

    def get_other(self, position: int) -> int:
        """Return the position of the other file."""
        return self.second if self.first == position else self.first

    @property
    def rank(self) -> tuple[float, ...]:
        """Sorts links, the strongest evidence first."""
        return (min(ORDER[self.evidence], ORDER[HASH]), -self.score, self.first, self.second)
