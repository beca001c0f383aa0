"""The page beside the maps of a detector: the most anomalous images, each with its map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ilk.report.render import Gallery
from ilk.report.templates import render_template
from ilk.report.thumbnails import make_thumbnail

MAX_SHOWN = 24
MAX_SIDE = 320  # pixels of what is kept for the page


@dataclass(frozen=True, eq=False)
class AnomalyView:
    """An image for the page.

    Attributes:
        path: Its path, as it is shown.
        score: Its score.
        is_anomaly: Whether it is flagged.
        picture: The image.
        drawn: The image with its map.
    """

    path: str
    score: float
    is_anomaly: bool
    picture: Image.Image
    drawn: Image.Image


def keep_worst(views: list[AnomalyView], view: AnomalyView) -> list[AnomalyView]:
    """Return the views with the highest scores, the highest first, with pictures made small."""
    if len(views) == MAX_SHOWN and view.score <= views[-1].score:
        return views
    for picture in (view.picture, view.drawn):
        picture.thumbnail((MAX_SIDE, MAX_SIDE))
    return sorted([*views, view], key=lambda v: -v.score)[:MAX_SHOWN]


def render_anomaly_page(
    views: Sequence[AnomalyView], n_images: int, n_flagged: int | None, detector: str
) -> str:
    """Return the page as HTML.

    Args:
        views: The images with the highest scores, the highest first.
        n_images: Number of images that were scored.
        n_flagged: Number of flagged ones; None without a threshold.
        detector: The detector, as it is shown.
    """
    thumbnails = []
    for view in views:
        caption = f"score {view.score:.4g}" + (", flagged" if view.is_anomaly else "")
        for name, picture in ((caption, view.picture), ("map", view.drawn)):
            file = Path(view.path)
            thumbnails.append(make_thumbnail(file, None, name, content=picture))
    flagged = "no threshold" if n_flagged is None else f"{n_flagged:,} flagged"
    return render_template(
        "anomaly_page.html",
        title=f"{n_images:,} images, {flagged}",
        lead=f"Scored by {detector}.",
        reference="an image at the threshold does"
        if n_flagged is not None
        else "the normal image with the highest score did",
        gallery=Gallery(thumbnails, 0),
    )
