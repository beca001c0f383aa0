"""The page of pictures that are in a source more than once, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ilk import __version__
from ilk.images.duplicates.near_pairs import (
    CONCERNS,
    CONFLICT,
    COPY,
    GROUPS,
    LEAK,
    PARTLY,
    UNLABELLED,
)
from ilk.report.formatting import abbreviate, format_count
from ilk.report.templates import render_template
from ilk.report.thumbnails import Thumbnail, show_image

if TYPE_CHECKING:
    from ilk.deduplication.groups import DuplicateGroup, DuplicateGroups, Member

MAX_THUMBNAILS = 600  # per page: about 4 MB
MAX_PER_GROUP = 12
TITLES = {
    LEAK: "In training and test",
    CONFLICT: "Under different labels",
    GROUPS: "In different groups",
    COPY: "With one label",
    PARTLY: "With a label and without one",
    UNLABELLED: "Without labels",
}


@dataclass(frozen=True)
class ShownGroup:
    """A group on the page.

    Attributes:
        title: Its number and what holds it together.
        thumbnails: Its pictures, the one to keep first.
        n_hidden: Number of its pictures that are not shown.
    """

    title: str
    thumbnails: list[Thumbnail]
    n_hidden: int


@dataclass(frozen=True)
class Section:
    """The groups of one concern."""

    name: str
    title: str
    summary: str
    groups: list[ShownGroup]
    n_hidden: int


def render_duplicates(found: DuplicateGroups, notes: tuple[str, ...] = ()) -> str:
    """Return the page as HTML that can be encoded as UTF-8.

    Args:
        found: The groups.
        notes: Further remarks.
    """
    n = len(found.groups)
    sections, room = [], MAX_THUMBNAILS
    numbers = {id(group): i + 1 for i, group in enumerate(found.groups)}
    for concern, meaning in CONCERNS.items():
        groups = [group for group in found.groups if group.concerns == concern]
        if not groups:
            continue
        shown = []
        for group in groups:
            if room < 2:
                break
            shown.append(_show_group(found, group, numbers[id(group)], min(room, MAX_PER_GROUP)))
            room -= len(shown[-1].thumbnails)
        summary = f"{format_count(len(groups), 'group')} of the same picture {meaning}."
        name = concern.replace(" ", "-")
        sections.append(Section(name, TITLES[concern], summary, shown, len(groups) - len(shown)))
    pictures = format_count(len(found.images.used), "image")
    lede = (
        f"{format_count(found.n_extra, 'file')} of {pictures} could be removed: each group is one "
        "picture, with the file to keep first. Nothing was deleted or moved."
        if n
        else f"No two of {pictures} are the same picture."
    )
    return render_template(
        "duplicates.html",
        version=f"ilk {__version__}",
        title=f"{format_count(n, 'duplicated picture')}" if n else "No duplicates",
        lede=lede,
        notes=notes,
        sections=sections,
    )


def _show_group(
    found: DuplicateGroups, group: DuplicateGroup, number: int, room: int
) -> ShownGroup:
    images = found.images
    shown = group.members[:room]
    pictures = [
        show_image(images, images.shown_path_of(images.rows[m.position]), *_caption(m, group))
        for m in shown
    ]
    title = f"{number}: {format_count(len(group.members), 'file')}, {group.evidence}"
    return ShownGroup(title, pictures, len(group.members) - len(shown))


def _caption(member: Member, group: DuplicateGroup) -> tuple[str, ...]:
    first = "keep" if member.keep else describe_evidence(member)
    lines = [first, f"{member.width} × {member.height}, {_format_size(member.size)}"]
    if member.label is not None:
        lines.append(f"label: {abbreviate(member.label)}")
    if len(group.splits) > 1:
        lines.append(f"split: {member.split}")
    return tuple(lines)


def describe_evidence(member: Member) -> str:
    """Return what connects a file with another of its group, in a few words."""
    if member.cosine is None:
        return member.evidence
    parts = [f"{member.evidence} {member.similarity:.3f}"]
    if member.is_mirrored:
        parts.append("mirrored")
    if member.share < 0.9:
        parts.append(f"{member.share:.0%} of the picture".replace("%", " %"))
    return ", ".join(parts)


def _format_size(size: int) -> str:
    return f"{size / 1000:,.1f} kB" if size else "in memory"
