"""`Method` learns, `Model` answers: the two contracts, and the forms that many methods share."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from ilk.data import Data, Features, Logits
from ilk.errors import NoLabels


@runtime_checkable
class Model(Protocol):
    """What fitting gives: a dataclass of arrays and plain values, and how to score with them."""

    def logits(self, x: Features, /) -> Logits:
        """Score `[n, k]` of features `[n, d]`: higher is likelier, `-inf` where never seen.

        A row's score depends on that row alone.
        """
        ...


@runtime_checkable
class Method(Protocol):
    """Hyperparameters: a frozen dataclass whose defaults work. `fit` never changes its input."""

    def fit(self, data: Data, /) -> Model:
        """Learn from the labelled rows of `data` (and, if it can, from the unlabelled)."""
        ...


class Facts:
    """What is true of a whole method; a method file states only what differs."""

    reads: ClassVar[Literal["features", "images"]] = "features"
    transductive: ClassVar[bool] = False
    needs_hints: ClassVar[bool] = False
    """Wants `Data.hints`, the text embeddings of the class names, beside the features."""
    needs_labels: ClassVar[bool] = True


def describe(method: Any) -> str:
    """A method as it would be typed: its name and the fields that differ from their defaults.

    What it gives can be pasted back: `ilk.methods.parse(describe(m)) == m`.
    """
    told = [
        f"{f.name}={getattr(method, f.name)!r}"
        for f in fields(method)
        if f.default is MISSING or getattr(method, f.name) != f.default
    ]
    return f"{type(method).__name__}({', '.join(told)})"


def learnable(data: Data, who: object) -> Data:
    """The labelled rows of `data` as float features, or a sentence that says what is missing.

    Raises:
        NoLabels: There is no labelled row.
    """
    known = data.labelled()
    if not len(known):
        raise NoLabels(
            f"{type(who).__name__} learns from labels and there are none; "
            "label a few images, or use ZeroShot with an encoder that reads text"
        )
    return known


@dataclass(frozen=True, eq=False)
class Linear:
    """`x @ weight.T + bias`; a class never seen has bias `-inf` and weight 0.

    Attributes:
        weight: `[k, d]` float32.
        bias: `[k]` float32.
    """

    weight: Features
    bias: Features

    def logits(self, x: Features) -> Logits:
        return np.asarray(x, np.float32) @ self.weight.T + self.bias

    @classmethod
    def of(cls, weight: Any, bias: Any) -> Linear:
        """Round float64 results to the float32 that is stored."""
        return cls(np.asarray(weight, np.float32), np.asarray(bias, np.float32))
