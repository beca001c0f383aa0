"""VALE: the object that an answer rests on, cut out, and described in words.

Purushothaman Natarajan, Athira Nambiar, 2024, VALE: A Multimodal Visual and Language Explanation
Framework for Image Classifiers using eXplainable AI and Language Models, arXiv 2408.12808.

    Shapley values of the cells of a grid -> points in the cells with the largest ones
    -> segment that contains the points -> words about the segment

Departures: without a network of Segment Anything the segment is that of the random walker, whose
background is the cells with values below the median; without a vision-language model the words are
a template of measured facts. Outside the segment the map keeps the Shapley values, so that pixels
have an order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.explain.contract import ExplainerTags, Map, check_least
from ilk.explain.question import Question
from ilk.explain.segment import Mask, Segmenter, find_points, walk_from_points
from ilk.explain.segment_anything import open_segment_anything
from ilk.explain.segment_text import measure_segment, word_segment
from ilk.explain.shapley import compute_shapley
from ilk.explain.subject import Subject
from ilk.explain.vision_language import open_vision_language

MARGIN = 0.1  # of the segment's box that the language model sees around it


@dataclass(frozen=True)
class Vale(ExplainerTags):
    """A segment grown from where the Shapley values are largest.

    Attributes:
        n_cells: Cells of the grid along a side, >= 2.
        n_coalitions: Passes for the Shapley values, >= 2.
        n_points: Points that the segment is grown from, >= 1.
        segment_anything: Folder or hub repository of a Segment Anything network, such as
            `facebook/sam-vit-base`; "" uses the random walker.
        language: Folder or hub repository of a vision-language model; "" uses a template.
    """

    name: ClassVar[str] = "vale"
    paper: ClassVar[str] = "Natarajan and Nambiar 2024"

    n_cells: int = 8
    n_coalitions: int = 500
    n_points: int = 3
    segment_anything: str = ""
    language: str = ""

    def __post_init__(self) -> None:
        check_least(self, n_cells=2, n_coalitions=2, n_points=1)

    def count_passes(self, subject: Subject, /) -> int:
        """Return the number of coalitions, those of all cells and of none included."""
        return self.n_coalitions + 2

    def explain(self, subject: Subject, seed: int, /) -> Map:
        """Return 1 in the segment, and outside the Shapley values relative to the largest."""
        cells = tile_cells(subject.shape, self.n_cells)
        values = self._compute_values(subject, cells, seed)
        background = find_background(values)
        points = find_points(values, measure_change(subject), self.n_points)
        segment = self._open_segmenter()(subject.picture, points, background)
        top = max(float(np.abs(values).max()), 1e-12)
        return np.where(segment, 1.0, np.minimum(values / top, 0.999)).astype(np.float32)

    def describe(self, subject: Subject, values: Map, question: Question) -> str:
        """Return sentences about the segment of a map that `explain` returned."""
        segment = values >= 1
        facts = measure_segment(subject, segment)
        text = word_segment(facts, question.target)
        if self.language:
            part = Image.fromarray(cut_out(subject.picture, segment))
            words = open_vision_language(self.language).describe(part, question.target)
            text = f"{text} In the words of {self.language}: {words}"
        return text

    def _compute_values(self, subject: Subject, cells: NDArray[np.int64], seed: int) -> Map:
        def score(coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
            return -subject.measure_falls(coalitions[:, cells])

        n_cells = int(cells.max()) + 1
        return compute_shapley(score, n_cells, self.n_coalitions, seed)[cells].astype(np.float32)

    def _open_segmenter(self) -> Segmenter:
        if self.segment_anything:
            return open_segment_anything(self.segment_anything)
        return walk_from_points


def tile_cells(shape: tuple[int, int], n_cells: int) -> NDArray[np.int64]:
    """Return the cell of each pixel, `[h, w]`; pictures of fewer pixels have fewer cells."""
    rows, columns = (np.arange(n) * min(n_cells, n) // n for n in shape)
    return np.asarray(rows[:, None] * (columns[-1] + 1) + columns[None], np.int64)


def find_background(values: Map) -> Mask:
    """Return the pixels `[h, w]` whose value is below the median: surely outside."""
    return np.asarray(values < np.median(values))


def measure_change(subject: Subject) -> NDArray[np.float64]:
    """Return how much blurring each pixel of the picture changes its colour, `[h, w]`."""
    from ilk.explain.baselines import fill_picture

    blurred = np.asarray(fill_picture(Image.fromarray(subject.picture), "blur"), np.float64)
    return np.asarray(np.abs(subject.picture - blurred).sum(2))


def cut_out(picture: NDArray[np.uint8], segment: Mask) -> NDArray[np.uint8]:
    """Return the box of a segment `[h, w]` of a picture `[h, w, 3]`, with a margin."""
    if not segment.any():
        return picture
    slices = []
    for axis, length in enumerate(segment.shape):
        at = np.flatnonzero(segment.any(1 - axis))
        margin = max(1, round(MARGIN * (at[-1] - at[0] + 1)))
        slices.append(slice(max(0, at[0] - margin), min(length, at[-1] + 1 + margin)))
    return np.ascontiguousarray(picture[slices[0], slices[1]])
