"""The page of `ilk explain`: every image with its map, its verdict and the nearest images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ilk.report.render import Gallery
from ilk.report.templates import render_template
from ilk.report.thumbnails import Thumbnail, make_thumbnail

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_VIEWS = 60  # images on the page; the maps of all lie beside it
MAX_SIDE = 320  # pixels of what is kept for the page


@dataclass(frozen=True)
class ExplanationView:
    """One image for the page.

    Attributes:
        title: Its path, as it is shown.
        error: Why it is not explained, or "".
        is_trustworthy: The verdict on its map.
        text: The explanation in sentences.
        cost: Method, passes and seconds, in a sentence.
        pictures: The image and its map.
        neighbours: The nearest training images.
        neighbours_note: Why there are none.
    """

    title: str
    error: str = ""
    is_trustworthy: bool = False
    text: str = ""
    cost: str = ""
    pictures: Gallery = field(default_factory=lambda: Gallery([], 0))
    neighbours: Gallery = field(default_factory=lambda: Gallery([], 0))
    neighbours_note: str = ""


def make_pictures(path: str, picture: Image, drawn: Image, answer: str, method: str) -> Gallery:
    """Return an image and its map for the page."""
    for image in (picture, drawn):
        image.thumbnail((MAX_SIDE, MAX_SIDE))
    captions = (answer, f"map by {method}")
    return Gallery(
        [
            make_thumbnail(Path(path), None, caption, content=image)
            for caption, image in zip(captions, (picture, drawn), strict=True)
        ],
        0,
    )


def make_neighbour(path: str, label: str, similarity: float, content: bytes) -> Thumbnail:
    """Return a training image for the page: what the model keeps of it, else its file."""
    captions = (label, f"similarity {similarity:.2f}")
    file = Path(path)
    return make_thumbnail(file, file.parent.parent, *captions, content=content or None)


def render_explanation_page(
    views: Sequence[ExplanationView], n_images: int, notes: Sequence[str]
) -> str:
    """Return the page as HTML.

    Args:
        views: The images, in order, `MAX_VIEWS` at most.
        n_images: Number of images that were explained or refused.
        notes: What holds for all of them: how the method was chosen, the check of the model.
    """
    title = "1 image explained" if n_images == 1 else f"{n_images:,} images explained"
    hidden = n_images - len(views)
    more = [f"only the first {len(views)} are shown; the maps of all images are in this folder"]
    return render_template(
        "explanation_page.html", title=title, views=views, notes=[*notes, *(more if hidden else [])]
    )
