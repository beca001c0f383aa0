"""What a map says, as measured facts, and as sentences made of them.

A `Facts` holds nothing that was not measured, so sentences made of it are true of the classifier;
whether the classifier is right is another matter. A language model may word the same facts: it is
given a `Facts` and returns a text (`Words`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from ilk.explain.contract import Map
from ilk.explain.fidelity import rank_pixels
from ilk.explain.question import Question
from ilk.explain.subject import Subject

AREA = 0.2  # of the picture: the part that is named and taken away
MIN_CHANGE = 0.005  # of an answer that is said
ROWS, COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")


@dataclass(frozen=True)
class Facts:
    """What was measured of one image and its map.

    Attributes:
        target: The class that is explained.
        against: The class that it is contrasted with, or "".
        runner_up: The most probable other class, or "" if images may have several labels.
        answer: The answer for the image, in [0, 1].
        runner_up_probability: Calibrated probability of the runner-up.
        place: Where the fifth of the picture that the map marks most lies: one of nine places.
        share: Part of the map's support that lies in that fifth, in [0, 1].
        answer_without: The answer when that fifth is blurred.
        answer_only: The answer when all the rest is blurred.
    """

    target: str
    against: str
    runner_up: str
    answer: float
    runner_up_probability: float
    place: str
    share: float
    answer_without: float
    answer_only: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


class Words(Protocol):
    """Words facts: a template, or a language model."""

    def __call__(self, facts: Facts, /) -> str:
        """Return the facts as sentences."""
        ...


def collect_facts(subject: Subject, values: Map, question: Question) -> Facts:
    """Measure what a map `[h, w]` says; costs two passes."""
    is_marked = rank_pixels(values) < AREA
    without, only = subject.score_masks(np.stack([~is_marked, is_marked]))
    support = np.maximum(values.astype(np.float64), 0)
    total = float(support.sum())
    share = float(support[is_marked].sum() / total) if total else 0.0
    return Facts(
        question.target,
        question.against,
        question.runner_up,
        subject.value,
        question.runner_up_probability,
        find_place(np.where(is_marked, support, 0.0)),
        share,
        float(without),
        float(only),
    )


def find_place(weights: Map) -> str:
    """Return where the middle of non-negative weights `[h, w]` lies, on a grid of 3 by 3.

    The cell with the largest sum, so that two marked corners do not add up to the middle.
    """
    height, width = weights.shape
    rows = np.minimum(np.arange(height) * 3 // max(height, 1), 2)
    columns = np.minimum(np.arange(width) * 3 // max(width, 1), 2)
    cells = np.zeros((3, 3))
    np.add.at(cells, (rows[:, None], columns[None, :]), weights)
    row, column = divmod(int(cells.argmax()), 3)
    if not cells.any():
        return "nowhere"
    if (row, column) == (1, 1):
        return "centre"
    return f"{ROWS[row]} {COLUMNS[column]}"


def word_facts(facts: Facts) -> str:
    """Return the facts as plain sentences."""
    compared = (
        f"{facts.target} rather than {facts.against} ({facts.answer:.2f} if only these two were "
        "possible)"
        if facts.against
        else f"{facts.target} with probability {facts.answer:.2f}"
    )
    sentences = [compared + _name_rival(facts) + "."]
    what = f"its share against {facts.against}" if facts.against else "the probability"
    if facts.place == "nowhere":
        sentences.append("No part of the image supports this answer more than another.")
        return " ".join(sentences)
    sentences.append(
        f"The {facts.place} counts most: the marked fifth of the image holds "
        f"{100 * facts.share:.0f} % of the support."
    )
    effect = word_change(what, facts.answer, facts.answer_without)
    sentences.append(f"Removing it {effect}; it alone gives {facts.answer_only:.2f}.")
    return " ".join(sentences)


def word_change(what: str, before: float, after: float) -> str:
    """Return what happens to a value, such as "lowers the answer from 0.90 to 0.20"."""
    if abs(after - before) <= MIN_CHANGE:
        return f"leaves {what} at {after:.2f}"
    verb = "lowers" if after < before else "raises"
    return f"{verb} {what} from {before:.2f} to {after:.2f}"


def _name_rival(facts: Facts) -> str:
    if facts.against or not facts.runner_up:
        return ""
    return f", then {facts.runner_up} with {facts.runner_up_probability:.2f}"
