"""The page of suggested groups: what each looks like, and the command that adds it as a class."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ilk.report.pictures import Picture, picture
from ilk.report.templates import filled
from ilk.report.words import brief, count, percent

if TYPE_CHECKING:
    from ilk.living.discover import Discovery, Found

PICTURES = 18  # of a group
MOST = 720  # of the page: about 4 MB
COMMONEST = 0.2  # share of a group that must look like a known class for that to be told


@dataclass(frozen=True)
class Group:
    """One group as it is shown."""

    name: str
    size: int
    told: str
    pictures: list[Picture]
    left_out: int
    command: str


def page(discovery: Discovery, known: str, out: str) -> str:
    """The page as text that UTF-8 can hold; `known` and `out` are the folders for its commands."""
    grouped = sum(f.group > 0 for f in discovery.found)
    images = count(len(discovery.images.used), "image")
    title = f"{count(discovery.groups, 'new kind')} suggested" if grouped else "Nothing new"
    lede = (
        f"{grouped:,} of {images} fit no known class. Look at each group, rename its folder, and "
        "add it to the classifier."
        if grouped
        else f"No group among {images} is unlike what the classifier knows."
    )
    return filled(
        "groups.html",
        title=title,
        lede=lede,
        notes=discovery.notes,
        groups=[_group(discovery, n, known, out) for n in range(1, discovery.groups + 1)],
    )


def _group(discovery: Discovery, number: int, known: str, out: str) -> Group:
    members = discovery.group(number)
    shown = members[: max(1, min(PICTURES, MOST // discovery.groups))]
    pictures = [
        picture(discovery.images.file(f.row), discovery.images.root, *_says(f)) for f in shown
    ]
    name = f"group-{number}"
    told = shlex.join(["ilk", "add", known, "--class", "NAME", f"{out.rstrip('/')}/{name}"])
    return Group(name, len(members), _told(members), pictures, len(members) - len(shown), told)


def _says(f: Found) -> tuple[str, ...]:
    return ("called unknown" if f.unknown else f"called {brief(f.nearest)}",)


def _told(members: list[Found]) -> str:
    """How many, how many of them unknown, and which known class they are nearest to."""
    n = len(members)
    if n == 1:
        return "One image, and nothing else looks like it: only a suggestion."
    told = f"{count(n, 'image')}, the most typical first; {percent(_share(members))} of them "
    told += "are called unknown by the classifier."
    name, most = Counter(f.nearest for f in members).most_common(1)[0]
    if most >= COMMONEST * n:
        told += f" The known class most like it is “{brief(name)}”."
    return told


def _share(members: list[Found]) -> float:
    return sum(f.unknown for f in members) / len(members)
