"""The page of suggested groups, with the command that adds each as a class."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ilk.report.formatting import abbreviate, format_count, format_percent
from ilk.report.templates import render_template
from ilk.report.thumbnails import Thumbnail, show_image
from ilk.updates.add_command import build_add_command

if TYPE_CHECKING:
    from ilk.updates.discover import Discovery, GroupedImage
    from ilk.vocabulary.group_names import NameSuggestion

MAX_GROUP_THUMBNAILS = 18  # per group
MAX_THUMBNAILS = 720  # per page: about 4 MB
MIN_NEAREST_FRACTION = 0.2  # of a group's images nearest to a class, for it to be mentioned


@dataclass(frozen=True)
class Group:
    """One group on the page."""

    name: str
    title: str
    size: int
    summary: str
    thumbnails: list[Thumbnail]
    n_hidden: int
    command: str


def render_groups(discovery: Discovery, known: str, out: str) -> str:
    """Return the page as HTML that can be encoded as UTF-8.

    Args:
        discovery: The groups.
        known: Path of the model, for the commands.
        out: Path of the output folder, for the commands.
    """
    grouped = sum(f.group > 0 for f in discovery.grouped)
    images = format_count(len(discovery.images.used), "image")
    title = (
        f"{format_count(discovery.n_groups, 'new group')} suggested" if grouped else "Nothing new"
    )
    lede = (
        f"{grouped:,} of {images} are in {'it' if discovery.n_groups == 1 else 'them'}. Delete the "
        "copies that do not belong to a group, choose its name, and add it to the classifier."
        if grouped
        else f"No group among {images} differs from the known classes."
    )
    return render_template(
        "groups.html",
        title=title,
        lede=lede,
        notes=discovery.notes,
        groups=[_build_group(discovery, n, known, out) for n in range(1, discovery.n_groups + 1)],
    )


def _build_group(discovery: Discovery, number: int, known: str, out: str) -> Group:
    members, images = discovery.list_group(number), discovery.images
    shown = members[: max(1, min(MAX_GROUP_THUMBNAILS, MAX_THUMBNAILS // discovery.n_groups))]
    pictures = [show_image(images, images.shown_path_of(f.row), *_make_caption(f)) for f in shown]
    name, suggestion = f"group-{number}", discovery.names.get(number)
    return Group(
        name,
        f"{name}: {suggestion.name}?" if suggestion else name,
        len(members),
        _summarize_group(members) + _describe_suggestion(suggestion),
        pictures,
        len(members) - len(shown),
        build_add_command(discovery, number, known, out),
    )


def _make_caption(f: GroupedImage) -> tuple[str, ...]:
    return ("flagged as unknown" if f.is_unknown else f"predicted: {abbreviate(f.nearest_class)}",)


def _summarize_group(members: list[GroupedImage]) -> str:
    """Return the number of images, the fraction flagged as unknown, and the nearest class."""
    n = len(members)
    if n == 1:
        return "One image that resembles no other: only a suggestion."
    unknown = format_percent(_compute_unknown_fraction(members))
    summary = f"{format_count(n, 'image')}, the most typical first; {unknown} of them are "
    summary += "flagged as unknown."
    name, n_nearest = Counter(f.nearest_class for f in members).most_common(1)[0]
    if n_nearest >= MIN_NEAREST_FRACTION * n:
        summary += f" The most similar known class is “{abbreviate(name)}”."
    return summary


def _describe_suggestion(suggestion: NameSuggestion | None) -> str:
    if suggestion is None:
        return ""
    probability = format_percent(suggestion.probability)
    return f" The suggested name is “{suggestion.name}”, with probability {probability}."


def _compute_unknown_fraction(members: list[GroupedImage]) -> float:
    return sum(f.is_unknown for f in members) / len(members)
