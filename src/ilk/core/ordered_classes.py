"""Classes that are numbers: their values, their order, and the size of an error.

The class that minimizes the expected absolute error is the median of the predictive distribution:
the first class, in order, at which the cumulative probability reaches one half.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.errors import InputError
from ilk.core.metrics import Probabilities, Scores, score

MIN_CLASSES = 3  # of two classes, every error has the same size

_NUMBER = r"[-+−]?\d+(?:\.\d+)?"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*(?:-|–|to|\.\.)\s*({_NUMBER})\s*")
_BOUND = re.compile(rf"\s*(?:[<>≤≥]=?)?\s*({_NUMBER})\s*\+?\s*")

Values = NDArray[np.float64]  # [k]


def parse_class_value(name: str) -> float | None:
    """Return the number that a class stands for, the middle of a range; None if it is none.

    >>> [parse_class_value(name) for name in ("3", "10-19", "60+", "<18", "cat")]
    [3.0, 14.5, 60.0, 18.0, None]
    """
    if match := _RANGE.fullmatch(name):
        return (_to_number(match[1]) + _to_number(match[2])) / 2
    match = _BOUND.fullmatch(name)
    return _to_number(match[1]) if match else None


def _to_number(text: str) -> float:
    return float(text.replace("−", "-"))


def compute_class_values(classes: Sequence[str]) -> Values | None:
    """Return the value of each class, `[k]`; None if one is not a number or two have the same."""
    values = [parse_class_value(name) for name in classes]
    known = [value for value in values if value is not None]
    return np.array(known) if len(set(known)) == len(values) else None


def sort_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Return ordered classes, lowest first.

    Raises:
        InputError: A class is not a number, or two stand for the same.
    """
    by_value: dict[float, str] = {}
    for name in sorted(classes):
        value = parse_class_value(name)
        if value is None:
            raise InputError(
                f"ordered classes must be numbers or ranges such as 10-19, and {name!r} is "
                "neither; rename it, or leave out ordered (--ordered)"
            )
        if value in by_value:
            raise InputError(
                f"the ordered classes {by_value[value]!r} and {name!r} stand for the same number; "
                "rename one of them"
            )
        by_value[value] = name
    return tuple(by_value[value] for value in sorted(by_value))


def predict_median(probabilities: Probabilities, values: Values) -> Labels:
    """Return the class of least expected absolute error, `[n]`.

    Args:
        probabilities: `[n, k]`.
        values: Value of each class, `[k]`, in any order.
    """
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(probabilities[:, order], axis=1)
    half = 0.5 * cumulative[:, -1:] - 1e-12
    return np.asarray(order[(cumulative >= half).argmax(1)], np.int64)


def compute_absolute_errors(y: Labels, probabilities: Probabilities, values: Values) -> Values:
    """Return the absolute error of the median for labels `y [n]` and `[n, k]`, `[n]`."""
    return np.abs(values[predict_median(probabilities, values)] - values[y])


def score_ordered(y: Labels, probabilities: Probabilities, values: Values | None) -> Scores:
    """Return all metrics; with `values [k]`, the mean absolute error of the median class as well.

    Args:
        y: Labels, `[n]`, all known.
        probabilities: `[n, k]`.
        values: Value of each class, `[k]`; None if the classes have no order.

    Raises:
        ValueError: If there is no row.
    """
    scores = score(y, probabilities)
    if values is None:
        return scores
    error = float(compute_absolute_errors(y, probabilities, values).mean())
    return replace(scores, mean_absolute_error=error)


def describe_order(classes: Sequence[str]) -> str:
    """Return a note that offers ordered classes where all classes are numbers, or ""."""
    if len(classes) < MIN_CLASSES or compute_class_values(classes) is None:
        return ""
    return (
        f"the {len(classes)} classes are numbers; if their order matters (stars, ages), use "
        "--ordered (ordered=True): it adds the mean absolute error beside the accuracy"
    )
