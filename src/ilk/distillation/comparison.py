"""The student beside its teachers: one row of figures for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ilk.core.data import Labels
from ilk.core.metrics import Interval, Probabilities, Scores, score
from ilk.distillation.network_cost import Cost
from ilk.distillation.teachers import TEACHER, TOGETHER
from ilk.maths.clusters import compare_means, compute_interval

STUDENT, LABELS_ALONE = "student", "student, labels alone"


@dataclass(frozen=True)
class Competitor:
    """One row of the comparison.

    Attributes:
        name: `teacher`, or `teacher 1` and so on and `teachers together`; `student` or `student,
            labels alone`.
        description: What it is, such as `cnn-15k, KD`.
        scores: Its scores on the images that all are judged on; None for a teacher of other
            classes.
        agreement: Fraction of these images on which it predicts the class of the teacher, or of the
            teachers together; None likewise.
        cost: Size and computation of a prediction.
        seconds: Time per image, from preprocessed pixels to the prediction, all measured in one
            run; None where it was not measured.
    """

    name: str
    description: str
    scores: Scores | None
    agreement: Interval | None
    cost: Cost
    seconds: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain values."""
        cost = asdict(self.cost)
        return {
            "name": self.name,
            "description": self.description,
            "scores": None if self.scores is None else asdict(self.scores),
            "agreement": None if self.agreement is None else asdict(self.agreement),
            **cost,
            "seconds": self.seconds,
        }

    def format_cells(self) -> tuple[str, ...]:
        """Return the cells of a printed table, as `HEADERS`."""
        is_reference = self.agreement is None or self.name in (TEACHER, TOGETHER)
        return (
            self.name,
            "" if self.scores is None else str(self.scores.accuracy),
            "" if self.scores is None else f"{self.scores.log_loss:.3f}",
            "" if is_reference else str(self.agreement),
            format_number(self.cost.parameters),
            format_number(self.cost.size),
            format_number(self.cost.multiply_adds),
            "" if self.seconds is None else f"{1000 * self.seconds:.3g}",
        )


HEADERS = (
    "",
    "accuracy",
    "log loss",
    "agreement",
    "parameters",
    "bytes",
    "multiply-adds",
    "ms per image",
)


def compare(
    name: str,
    description: str,
    probabilities: Probabilities | None,
    teacher: Probabilities,
    y: Labels,
    groups: Labels | None,
    cost: Cost,
    seconds: float | None,
) -> Competitor:
    """Return the row of one classifier.

    Args:
        name: As `Competitor.name`.
        description: As `Competitor.description`.
        probabilities: Its probabilities, `[n, k]`; None for a teacher of other classes.
        teacher: Those of the teacher, or of the teachers together, `[n, k]`.
        y: Labels, `[n]`.
        groups: Group of each image, `[n]`, -1 for none; None if no two share one.
        cost: What an answer costs.
        seconds: Time per image.
    """
    if probabilities is None:
        return Competitor(name, description, None, None, cost, seconds)
    answers = probabilities.argmax(1)
    scores = score(y, probabilities)
    if groups is not None:
        scores = replace(scores, accuracy=compute_interval(answers == y, groups))
    agreement = compute_interval(np.asarray(answers == teacher.argmax(1)), groups)
    return Competitor(name, description, scores, agreement, cost, seconds)


def describe_difference(
    rows: Mapping[str, Probabilities], y: Labels, groups: Labels | None = None
) -> str:
    """Return how the student compares with the same student on labels alone, as a sentence.

    Args:
        rows: Probabilities by name, `[n, k]`.
        y: Labels, `[n]`.
        groups: Group of each image, `[n]`, -1 for none; None if no two share one.
    """
    right = {name: (p.argmax(1) == y).astype(np.float64) for name, p in rows.items()}
    gain = compare_means(right[STUDENT], right[LABELS_ALONE], groups)
    verdict = "the teacher makes no significant difference"
    if gain.low > 0 or gain.high < 0:
        verdict = "the teacher helps" if gain.low > 0 else "the teacher hurts"
    return (
        f"{verdict}: compared with the same student trained on labels alone, the accuracy "
        f"changes by {100 * gain.value:+z.2f} points (95 % interval {100 * gain.low:+z.2f} to "
        f"{100 * gain.high:+z.2f})"
    )


def describe_reduction(rows: Sequence[Competitor]) -> str:
    """Return how much smaller and faster the student is than its teachers, as a sentence.

    What is unknown of one of them, or not less, is told as it is.
    """
    by_name = {row.name: row for row in rows}
    teacher, student = by_name.get(TOGETHER) or by_name[TEACHER], by_name[STUDENT]
    whom = "the teacher" if teacher.name == TEACHER else "its teachers together"
    words = []
    for less, more, a, b in (
        ("smaller", "larger", teacher.cost.parameters, student.cost.parameters),
        (
            "fewer multiply-adds",
            "more multiply-adds",
            teacher.cost.multiply_adds,
            student.cost.multiply_adds,
        ),
        ("faster", "slower", teacher.seconds, student.seconds),
    ):
        if a and b:
            words.append(f"{a / b:.3g} times {less}" if a >= b else f"{b / a:.3g} times {more}")
    return f"the student compared with {whom}: {', '.join(words)}" if words else ""


def format_number(value: int | None) -> str:
    """Return a count in short, such as 14.5k; "?" if it is unknown."""
    if value is None:
        return "?"
    for factor, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g}{unit}"
    return str(value)
