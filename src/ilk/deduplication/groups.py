"""Groups of files that hold the same picture, what they concern, and which file to keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ilk.deduplication.evidence import KINDS, ORDER, Link
from ilk.deduplication.stars import form_stars
from ilk.deduplication.threshold import Threshold
from ilk.images import Images, Row
from ilk.images.duplicates.near_pairs import CONCERNS, find_concern

LOSSLESS = ("PNG", "BMP", "TIFF", "PPM", "GIF", "DICOM", "NPY")  # formats


@dataclass(frozen=True)
class Member:
    """A file of a group.

    Attributes:
        path: As in the source.
        label: Its class or labels, None if unknown.
        split: "train", "val" or "test".
        width: Pixels, as stored.
        height: As `width`.
        size: Bytes.
        keep: Whether it is the one to keep, as a suggestion.
        of: Path of the file that the evidence connects it with.
        evidence: One of `ilk.deduplication.evidence.KINDS`.
        similarity: Correlation of the details of both where they agree, at most 1.
        cosine: Cosine similarity of their features; None for the same pixels.
        share: Share of the larger picture's area that the other shows.
        is_mirrored: Whether one is the mirror image of the other.
        position: Among the rows of the source.
    """

    path: str
    label: str | None
    split: str
    width: int
    height: int
    size: int
    keep: bool
    of: str
    evidence: str
    similarity: float
    cosine: float | None
    share: float
    is_mirrored: bool
    position: int


@dataclass(frozen=True)
class DuplicateGroup:
    """Files that hold the same picture, the one to keep first.

    Attributes:
        members: At least two.
        concerns: One of `ilk.images.duplicates.near_pairs.CONCERNS`.
        evidence: The weakest kind of evidence that holds it together.
        labels: Different labels of its files, sorted.
        splits: Different splits of its files, sorted.
    """

    members: tuple[Member, ...]
    concerns: str
    evidence: str
    labels: tuple[str, ...]
    splits: tuple[str, ...]


@dataclass(frozen=True)
class DuplicateGroups:
    """What was found in a source, leaks between training and test images first.

    Attributes:
        images: The source, as it was read; files that cannot be decoded are refused.
        groups: Groups of files that hold the same picture.
        links: Pairs that the evidence connects, positions among the rows of the source.
        encoder: Name of the encoder.
        n_pictures: Number of different pictures by their pixels.
        threshold: The score from which on pictures count as the same; None if none were compared.
        recall: Share of copies made of these pictures that would be found, by kind.
        min_cosine: Similarity of features from which on pairs were looked at; None without.
        per_million: Random pairs in a million that are at least as similar; None without.
        n_left_out: Number of pairs that were similar enough and too many to be looked at.
    """

    images: Images
    groups: tuple[DuplicateGroup, ...]
    links: tuple[Link, ...]
    encoder: str
    n_pictures: int
    threshold: Threshold | None = None
    recall: Mapping[str, float] = field(default_factory=dict)
    min_cosine: float | None = None
    per_million: float | None = None
    n_left_out: int = 0

    @property
    def n_extra(self) -> int:
        """Number of files that are in a group and not the one to keep."""
        return sum(len(group.members) - 1 for group in self.groups)

    def count_concerns(self) -> dict[str, int]:
        """Return the number of groups by what they concern."""
        counts = Counter(group.concerns for group in self.groups)
        return {concern: counts[concern] for concern in CONCERNS}

    def count_evidence(self) -> dict[str, int]:
        """Return the number of links by kind of evidence."""
        counts = Counter(link.evidence for link in self.links)
        return {kind: counts[kind] for kind in KINDS}

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values; the images as the number of files."""
        n = self.n_pictures
        pairs = n * (n - 1) / 2
        return {
            "files": len(self.images.rows),
            "used": len(self.images.used),
            "refused": len(self.images.refused),
            "pictures": n,
            "encoder": self.encoder,
            "extra_files": self.n_extra,
            "concerns": self.count_concerns(),
            "evidence": self.count_evidence(),
            "threshold": None
            if self.threshold is None
            else {
                **self.threshold.to_json(),
                "false_matches_per_million_pairs": 1e6 * self.threshold.false_matches / pairs,
                "min_cosine": self.min_cosine,
                "random_pairs_per_million_above_min_cosine": self.per_million,
                "pairs_left_out": self.n_left_out,
            },
            "recall_of_made_copies": dict(self.recall),
            "groups": [asdict(group) for group in self.groups],
        }


def form_groups(images: Images, links: Sequence[Link]) -> tuple[DuplicateGroup, ...]:
    """Return the groups that links make, most serious first, then the largest.

    Args:
        images: The source.
        links: Between positions of its rows.
    """
    by_member: dict[int, list[Link]] = {}
    for link in links:
        by_member.setdefault(link.first, []).append(link)
        by_member.setdefault(link.second, []).append(link)
    test = "test" if any(row.split == "test" for row in images.used) else "val"
    groups = [_make_group(images.rows, members, by_member, test) for members in form_stars(links)]
    order = {name: i for i, name in enumerate(CONCERNS)}
    groups.sort(key=lambda g: (order[g.concerns], -len(g.members), g.members[0].path))
    return tuple(groups)


def _make_group(
    rows: Sequence[Row], positions: list[int], by_member: Mapping[int, Sequence[Link]], test: str
) -> DuplicateGroup:
    inside = set(positions)
    links = {
        i: [link for link in by_member[i] if {link.first, link.second} <= inside] for i in positions
    }
    best = min(positions, key=lambda i: _rank_file(rows[i]))
    ordered = [best, *sorted(set(positions) - {best}, key=lambda i: rows[i].path)]
    chosen = {i: min(links[i], key=lambda link: _rank_link(link, i, best)) for i in ordered}
    members = tuple(_make_member(rows, i, chosen[i], i == best) for i in ordered)
    labels = tuple(sorted({member.label for member in members if member.label is not None}))
    splits = tuple(sorted({member.split for member in members}))
    concerns = find_concern([rows[i] for i in positions], test)
    weakest = max((chosen[i].evidence for i in ordered[1:]), key=lambda kind: ORDER[kind])
    return DuplicateGroup(members, concerns, weakest, labels, splits)


def _rank_file(row: Row) -> tuple[Any, ...]:
    """Sorts files, the one to keep first.

    A file with a label before one without; the most pixels; a format without loss; the most bytes;
    the shortest path.
    """
    return (
        not row.names,
        -row.width * row.height,
        row.format not in LOSSLESS,
        -row.size,
        len(row.path),
        row.path,
    )


def _rank_link(link: Link, position: int, best: int) -> tuple[Any, ...]:
    return (link.get_other(position) != best, link.rank)


def _make_member(rows: Sequence[Row], position: int, link: Link, keep: bool) -> Member:
    row = rows[position]
    return Member(
        path=row.path,
        label=None if not row.names else "; ".join(row.names),
        split=row.split,
        width=row.width,
        height=row.height,
        size=row.size,
        keep=keep,
        of=rows[link.get_other(position)].path,
        evidence=link.evidence,
        similarity=link.similarity,
        cosine=link.cosine,
        share=link.share,
        is_mirrored=link.is_mirrored,
        position=position,
    )
