"""A folder of explanations: one picture per image, and a page with all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ilk.artifacts.picture_folder import (
    PAGE,
    check_picture_folder,
    create_picture_folder,
    write_picture,
)
from ilk.core.atomic_write import write_atomically
from ilk.explain.explanation import NO_NEIGHBOURS, Explanation
from ilk.report.explanation_page import (
    MAX_VIEWS,
    ExplanationView,
    make_neighbour,
    make_pictures,
    render_explanation_page,
)
from ilk.report.render import Gallery

MARK, OPTION = ".ilk-explanations", "--out"


@dataclass
class ExplanationFolder:
    """Writes the map of each image as it comes, and the page at the end.

    Attributes:
        folder: The folder.
    """

    folder: Path
    n_images: int = 0
    _views: list[ExplanationView] = field(default_factory=list)

    def open(self) -> ExplanationFolder:
        """Create the folder.

        Raises:
            OutputError: It cannot be created.
        """
        create_picture_folder(self.folder, MARK, OPTION)
        return self

    def add(self, path: str, explanation: Explanation) -> str:
        """Write the map of an image, and return the name of its file.

        Raises:
            OutputError: It cannot be written.
        """
        name = write_picture(self.folder, self.n_images, path, explanation.draw_overlay())
        self._add_view(make_view(path, explanation))
        return name

    def refuse(self, path: str, error: str) -> None:
        """Note an image that cannot be explained, and why."""
        self._add_view(ExplanationView(path, error))

    def _add_view(self, view: ExplanationView) -> None:
        self.n_images += 1
        if len(self._views) < MAX_VIEWS:
            self._views.append(view)

    def write_page(self, notes: Sequence[str]) -> Path:
        """Write the page and return its path; raises OutputError if it cannot be written."""
        page = render_explanation_page(self._views, self.n_images, notes)
        write_atomically(self.folder / PAGE, page.encode("utf-8", "surrogateescape"))
        return self.folder / PAGE


def make_view(path: str, explanation: Explanation) -> ExplanationView:
    """Return an explanation as the page shows it."""
    question = explanation.target
    if explanation.against:
        question += f" rather than {explanation.against}"
    neighbours = [
        make_neighbour(n.path, n.label, n.similarity, n.thumbnail) for n in explanation.neighbours
    ]
    return ExplanationView(
        path,
        is_trustworthy=explanation.verdict.is_trustworthy,
        text=explanation.text,
        cost=f"{explanation.method}: {explanation.n_passes:,} passes, verdict included, in "
        f"{explanation.seconds:.1f} s.",
        pictures=make_pictures(
            path,
            explanation.draw_picture(),
            explanation.draw_overlay(),
            f"{question}, {explanation.facts.answer:.2f}",
            explanation.method,
        ),
        neighbours=Gallery(neighbours, 0),
        neighbours_note=NO_NEIGHBOURS[0].upper() + NO_NEIGHBOURS[1:] + ".",
    )


def check_explanation_folder(folder: Path, sources: Iterable[str]) -> Path:
    """Return `folder` if explanations can be written there and nothing of the user's is lost.

    Raises:
        OutputError: It holds other things, is a file, or lies among the images.
    """
    return check_picture_folder(folder, sources, MARK, OPTION, "explanations")
