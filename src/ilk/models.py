"""`Method` learns, `Model` answers: the two contracts, and the forms that many methods share."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ilk.data import Data, Features, Logits
from ilk.errors import InputError, NoLabels

CHUNK = 4096  # rows at a time


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


class Detector(Protocol):
    """What a method that detects gives: how far from normal a row is."""

    def score(self, x: Features, /) -> NDArray[np.float64]:
        """How far from normal each row of features `[n, d]` is, `[n]`: higher is odder."""
        ...

    def threshold(self, rate: float, /) -> float:
        """The score that a share `rate` of normal rows lies above."""
        ...


class Facts:
    """What is true of a whole method; a method file states only what differs."""

    reads: ClassVar[Literal["features", "images"]] = "features"
    transductive: ClassVar[bool] = False
    needs_hints: ClassVar[bool] = False
    """Wants `Data.hints`, the text embeddings of the class names, beside the features."""
    any_hints: ClassVar[bool] = False
    """Hints of any width will do, for only how far they lie apart counts."""
    needs_scores: ClassVar[bool] = False
    """Reads one score a class, as a diffusion classifier gives, and no other features."""
    needs_labels: ClassVar[bool] = True
    discovers: ClassVar[bool] = False
    """Answers with groups of its own after the classes: logits `[n, k + new]`."""
    unnamed: ClassVar[bool] = False
    """Finds classes without any label; a column has no name unless a few rows have one."""
    uses_unlabelled: ClassVar[bool] = False
    """Learns from rows without a label too; without any it is what its labelled half is."""
    uses_domains: ClassVar[bool] = False
    """Learns from `Data.domain`; with one domain it is what it is compared with."""
    detects: ClassVar[bool] = False
    """Learns what is normal; its model is a `Detector` and has no logits."""
    board: ClassVar[bool] = False
    """Tried by `ilk fit` when no method is named."""


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
    """The labelled rows of `data` as float32 features, or a sentence that says what is missing.

    Raises:
        NoLabels: There is no labelled row.
        InputError: The rows are not vectors.
    """
    known = data if (data.y >= 0).all() else data.labelled()  # spares a copy of the rows
    if not len(known):
        raise NoLabels(
            f"{type(who).__name__} learns from labels and there are none; "
            "label a few images, or use ZeroShot with an encoder that reads text"
        )
    if known.x.ndim != 2:
        raise InputError(
            f"{type(who).__name__} reads features [n, d] and got an array of shape "
            f"{known.x.shape}; encode the images first"
        )
    return replace(known, x=np.asarray(known.x, np.float32))


def hinted(data: Data, who: object) -> Features:
    """The hints of `data`, `[k, d]`, as long as its features.

    Raises:
        InputError: There are none, or they lie in another space.
    """
    name = type(who).__name__
    if data.hints is None:
        raise InputError(
            f"{name} needs a text embedding of each class and there is none; "
            "take an encoder that reads text, such as clip/NAME"
        )
    if data.x.ndim != 2 or data.hints.shape[1] != data.x.shape[1]:
        raise InputError(
            f"{name}: features of shape {data.x.shape} and text embeddings of shape "
            f"{data.hints.shape} have different widths; both must come from one encoder"
        )
    return data.hints


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
        """Scores `[n, k]`, float64: summed there, so that they do not hang on the batch's size."""
        return affine(x, self.weight, self.bias)

    @classmethod
    def of(cls, weight: Any, bias: Any) -> Linear:
        """Round float64 results to the float32 that is stored."""
        return cls(np.asarray(weight, np.float32), np.asarray(bias, np.float32))

    @classmethod
    def about(cls, centre: Any, weight: Any, bias: Any) -> Linear:
        """`(x - centre) @ weight.T + bias` as one product, up to a score common to all classes.

        What all classes share is taken off the weights (no answer and no probability hangs on
        it), and the bias is made for the weights as rounded, so that features far from 0 cost
        no digits.
        """
        seen = np.isfinite(bias)
        apart = np.where(seen[:, None], weight - weight[seen].mean(0), 0.0).astype(np.float32)
        return cls.of(apart, bias - apart.astype(np.float64) @ centre)


@dataclass(frozen=True, eq=False)
class UnitLinear:
    """`x / |x| @ weight.T + bias`: linear on the sphere, as cosines with a text embedding are.

    Attributes:
        weight: `[k, d]` float32.
        bias: `[k]` float32.
    """

    weight: Features
    bias: Features

    def logits(self, x: Features) -> Logits:
        """Scores `[n, k]`, float64; a row of zeros gets the bias alone."""
        return affine(x, self.weight, self.bias, unit=True)


@dataclass(frozen=True, eq=False)
class Perceptron:
    """One hidden layer of rectified units on standardised features.

    Attributes:
        centre: Taken off the features first, `[d]` float32.
        scale: What they are then divided by, `[d]` float32, > 0.
        inner: `[h, d]` float32.
        threshold: Added before rectifying, `[h]` float32.
        weight: `[k, h]` float32.
        bias: `[k]` float32; `-inf` for a class never seen.
    """

    centre: Features
    scale: Features
    inner: Features
    threshold: Features
    weight: Features
    bias: Features

    def hidden(self, x: Features) -> NDArray[np.float64]:
        """What the hidden units say of features `[n, d]`, `[n, h]`, at least 0."""
        z = (np.asarray(x, np.float64) - self.centre) / self.scale
        return np.asarray(np.maximum(affine(z, self.inner, self.threshold), 0))

    def logits(self, x: Features) -> Logits:
        """Scores `[n, k]`, float64."""
        return affine(self.hidden(x), self.weight, self.bias)


def affine(x: Any, weight: Features, bias: Features, *, unit: bool = False) -> Logits:
    """`x @ weight.T + bias` in float64, `CHUNK` rows at a time; of unit rows where asked."""
    right, add = weight.T.astype(np.float64), bias.astype(np.float64)
    out = np.empty((len(x), len(bias)))
    for at in range(0, len(x), CHUNK):
        part = np.asarray(x[at : at + CHUNK], np.float64)
        out[at : at + CHUNK] = (unit_rows(part) if unit else part) @ right + add
    return out


def unit_rows(x: Any) -> Any:
    """Rows of length 1, float64; a row of zeros stays one."""
    x = np.asarray(x, np.float64)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length > 0, length, 1.0)
