"""Evidence in, one HTML file out: nothing it shows lies outside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ilk.errors import OutputError
from ilk.metrics import Interval
from ilk.report import charts, tables
from ilk.report.board import board
from ilk.report.evidence import Evidence, Suspect
from ilk.report.figures import BINS, Figures
from ilk.report.pictures import Picture, drawn, picture
from ilk.report.story import headline, story
from ilk.report.templates import filled
from ilk.report.words import (
    between,
    brief,
    count,
    level,
    name_of,
    percent,
)

PICTURES = 24  # of each kind
TOLD = 200  # suspects listed by name beyond those shown as pictures


@dataclass(frozen=True)
class Gallery:
    """Pictures of one kind, and how many more there are."""

    pictures: list[Picture]
    left_out: int


@dataclass(frozen=True)
class Tile:
    """One figure at the head of the page."""

    label: str
    value: str
    detail: str
    bar: Markup


def render(evidence: Evidence) -> str:
    """The page as text that UTF-8 can hold, under 5 MB whatever the number of images."""
    judged = Figures(evidence)
    return filled(
        "page.html",
        e=evidence,
        title=headline(evidence, judged),
        notes=[note for note in dict.fromkeys(evidence.notes) if note != evidence.folds_note],
        tiles=_tiles(evidence, judged),
        story=story(evidence, judged),
        board=board(evidence),
        classes=tables.class_table(evidence, judged),
        matrix=tables.matrix(evidence, judged),
        names=[brief(name) for name in evidence.classes[: tables.MATRIX]],
        pairs=tables.pair_rows(evidence, judged),
        judged=judged,
        bins=judged.bins(),
        curve=charts.reliability_chart(judged.bins(), BINS),
        sizes=tables.size_rows(judged),
        mistakes=_mistakes(evidence, judged),
        suspects=_suspects(evidence),
        listed=_listed(evidence),
        unknowns=_unknowns(evidence),
        maps=_maps(evidence),
        intake=tables.intake_rows(evidence),
    )


def write(evidence: Evidence, path: str | os.PathLike[str]) -> Path:
    """Write the page to `path`.

    Raises:
        OutputError: The file cannot be written.
    """
    home = Path(path)
    try:
        home.write_bytes(render(evidence).encode("utf-8"))
    except OSError as error:
        raise OutputError(
            f"the report {home} cannot be written: {error.strerror or error}; "
            "name a folder that can be written and has room"
        ) from error
    return home


def _tiles(e: Evidence, judged: Figures) -> list[Tile]:
    files_found = len(e.images.rows)
    used = len(e.images.used)
    refused = len(e.images.refused)
    tiles = []
    if e.scores is not None and len(judged):
        error = 100 * e.scores.calibration_error
        tiles = [
            _share_tile("Named rightly", e.scores.accuracy),
            _share_tile(f"Sets that hold the truth, asked {level(e.set_level)}", e.coverage),
            Tile("Stated certainty is off by", f"{error:.1f}", "points on average", Markup("")),
        ]
    files_told = f"of {count(files_found, 'file')}, {refused:,} refused"
    return [*tiles, Tile("Images used", f"{used:,}", files_told, Markup(""))]


def _share_tile(label: str, share: Interval) -> Tile:
    return Tile(label, percent(share.value), between(share), charts.interval_bar(share))


def _gallery(
    items: Sequence[Any], e: Evidence, says: Callable[[Any], tuple[Path, tuple[str, ...]]]
) -> Gallery:
    shown = [says(item) for item in items[:PICTURES]]
    root = e.images.root
    return Gallery(
        [picture(file, root, *text) for file, text in shown], max(0, len(items) - PICTURES)
    )


def _mistakes(e: Evidence, judged: Figures) -> Gallery:
    def says(i: int) -> tuple[Path, tuple[str, ...]]:
        truth, answer = e.classes[judged.y[i]], e.classes[judged.answer[i]]
        lines = [f"{brief(truth)}, called {brief(answer)}", f"{percent(judged.confidence[i])} sure"]
        return e.paths[i], (*lines, "also called unknown") if e.unknown[i] else tuple(lines)

    return _gallery([int(i) for i in judged.mistakes], e, says)


def _suspects(e: Evidence) -> Gallery:
    def says(suspect: Suspect) -> tuple[Path, tuple[str, ...]]:
        file, given, looks, score = suspect
        return file, (f"labelled {brief(given)}, looks like {brief(looks)}", f"score {score:.2f}")

    return _gallery(e.suspects, e, says)


def _listed(e: Evidence) -> list[tuple[str, str, str, str]]:
    """Suspects beyond the pictures, by name."""
    return [
        (name_of(file, e.images.root), brief(given), brief(looks), f"{score:.2f}")
        for file, given, looks, score in e.suspects[PICTURES : PICTURES + TOLD]
    ]


def _unknowns(e: Evidence) -> Gallery:
    return _gallery(e.unknowns, e, lambda u: (u[0], (f"score {u[1]:.3g}",)))


def _maps(e: Evidence) -> Gallery:
    shown = e.maps[:PICTURES]
    found = [drawn(image, file, e.images.root, *says) for file, says, image in shown]
    return Gallery(found, len(e.maps) - len(shown))
