"""What is measured of a segment, and sentences made of it: nothing that was not measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ilk.explain.facts import find_place, word_change
from ilk.explain.segment import Mask
from ilk.explain.subject import Subject


@dataclass(frozen=True)
class SegmentFacts:
    """What was measured of a segment.

    Attributes:
        place: Where most of it lies: one of nine places of the picture, or "nowhere".
        share: Its share of the picture, in [0, 1].
        answer: The answer for the image, in [0, 1].
        answer_without: The answer when the segment is blurred.
        answer_only: The answer when all the rest is blurred.
    """

    place: str
    share: float
    answer: float
    answer_without: float
    answer_only: float


def measure_segment(subject: Subject, segment: Mask) -> SegmentFacts:
    """Measure a segment `[h, w]` of a subject; costs two passes."""
    without, only = subject.score_masks(np.stack([~segment, segment]))
    return SegmentFacts(
        find_place(segment.astype(np.float32)),
        float(segment.mean()),
        subject.value,
        float(without),
        float(only),
    )


def word_segment(facts: SegmentFacts, target: str) -> str:
    """Return the facts as sentences."""
    if facts.place == "nowhere":
        return f"No object was found that the answer {target} depends on."
    effect = word_change("the answer", facts.answer, facts.answer_without)
    return (
        f"The object that {target} depends on most is at the {facts.place} and covers "
        f"{100 * facts.share:.0f} % of the image; blurring it {effect}, and it "
        f"alone gives {facts.answer_only:.2f}."
    )
