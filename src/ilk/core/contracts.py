"""The contracts `Method`, `Model` and `Detector`, and the checks that methods share."""

from __future__ import annotations

import math
from dataclasses import MISSING, fields, replace
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Data, Features, Labels, Logits
from ilk.core.errors import InputError, NoLabels
from ilk.core.flattened_images import FlattenedImages
from ilk.core.statistics import Statistics


@runtime_checkable
class Model(Protocol):
    """A fitted model: a dataclass of arrays and plain values that scores rows."""

    def logits(self, x: Features, /) -> Logits:
        """Return scores `[n, k]` of features `[n, d]`: higher is more likely.

        `-inf` for a class without a training row. The scores of a row depend on that row alone,
        unless the method is tagged `transductive`.
        """
        ...


@runtime_checkable
class Method(Protocol):
    """Hyperparameters: a frozen dataclass with working defaults; `fit` never changes its input."""

    def fit(self, data: Data, /) -> Model:
        """Fit the labelled rows of `data` (and the unlabelled ones where it can)."""
        ...


@runtime_checkable
class Detector(Protocol):
    """A fitted anomaly detector."""

    @property
    def calibration_scores(self) -> NDArray[np.float64]:
        """Scores of the normal rows behind a threshold, ascending, `[m]`."""
        ...

    @property
    def calibration_votes(self) -> NDArray[np.float64]:
        """Their votes, `[m]`; empty if the rows are not in groups."""
        ...

    @property
    def n_votes(self) -> int:
        """Sum of the votes: the number of rows, or of groups of rows."""
        ...

    def score(self, x: Features, /) -> NDArray[np.float64]:
        """Return the anomaly score `[n]` of features `[n, d]`: higher is more anomalous."""
        ...

    def compute_threshold(self, false_alarm_rate: float, /) -> float:
        """Return the score that a fraction `false_alarm_rate` of normal rows exceeds."""
        ...


@runtime_checkable
class Extendable(Protocol):
    """A method whose fitted models accept further classes and rows without the old rows."""

    def extend(self, model: Any, added: Data, statistics: Statistics, /) -> Model:
        """Return `model` after the labelled rows of `added` were added to those it was fitted on.

        Args:
            model: What `fit` or `extend` of this method returned, with `k_old` classes.
            added: Labelled rows. The first `k_old` of its `k` classes are those of `model`.
            statistics: Counts, means and scatter of all rows, old and added, for `k` classes.
        """
        ...


@runtime_checkable
class LeavesOneOut(Protocol):
    """A method with closed-form leave-one-out scores: no refit per row."""

    def leave_one_out_logits(
        self,
        model: Any,
        x: Features,
        y: Labels,
        statistics: Statistics,
        group: Labels | None = None,
        /,
    ) -> Logits:
        """Return logits `[m, k]` of training rows, each as if `model` had been fitted without it.

        With groups, each is scored as if `model` had been fitted without any row of its group.

        Hyperparameters that `fit` estimates from all rows keep their value.

        Args:
            model: What `fit` or `extend` of this method returned.
            x: Rows that `model` was fitted on, `[m, d]`.
            y: Their classes, `[m]`.
            statistics: Counts, means and scatter of all rows that `model` was fitted on.
            group: Group of each row, `[m]`, -1 for a group of its own; `x` holds all rows of a
                group that `model` was fitted on. None makes every row one.
        """
        ...


@runtime_checkable
class FitsLabels(Protocol):
    """A method that fits every label against the rest at once, faster than one after the other."""

    def fit_labels(self, data: Data, targets: NDArray[np.bool_], /) -> tuple[Model, ...]:
        """Return a model of two classes, the rest and the label, per label.

        Args:
            data: Features of n rows that all count once; their labels are ignored.
            targets: Whether each label applies, `[n, k]`; both values occur for every label.
        """
        ...


class Tags:
    """Properties of a method class; a class states only those that differ from the defaults."""

    input_kind: ClassVar[Literal["features", "images"]] = "features"
    needs_labels: ClassVar[bool] = True
    supports_weights: ClassVar[bool] = False
    """Weight w of a row has the effect of w copies of it."""
    weighted_loss: ClassVar[bool] = False
    """Weights multiply the loss of each row in training, which equals copies in expectation only.

    Methods with neither tag refuse weights that differ."""
    uses_unlabelled: ClassVar[bool] = False
    """Also learns from unlabelled rows; without any it equals its supervised counterpart."""
    uses_domains: ClassVar[bool] = False
    """Learns from `Data.domain`; with a single domain it equals its single-domain counterpart."""


class MethodTags(Tags):
    """Base class of the classifiers in `ilk.methods`."""

    transductive: ClassVar[bool] = False
    """The scores of a row depend on the other rows of the batch."""
    needs_class_embeddings: ClassVar[bool] = False
    """Requires `Data.class_embeddings`, the text embeddings of the class names."""
    needs_class_model: ClassVar[bool] = False
    """Requires `Data.class_model`, of an encoder that knows the classes by name."""
    any_embedding_width: ClassVar[bool] = False
    """Uses only distances between class embeddings, so that they may have any width."""
    needs_class_scores: ClassVar[bool] = False
    """The input is one score per class, such as a diffusion classifier gives, not features."""
    exact_extension: ClassVar[bool] = False
    """`extend` gives the model that a fit of all rows gives, at the same hyperparameters."""
    one_vs_rest: ClassVar[bool] = False
    """Fitted per label against the rest where images have several labels: a linear classifier."""
    default_candidate: ClassVar[bool] = False
    """Tried by `ilk fit` when no method is named."""
    fit_cost: ClassVar[float] = math.inf
    """Time of a fit, relative to that of logistic regression on the same rows.

    Methods that state none are never fitted more often than they must be: their folds are not
    repeated where there are few images."""
    max_fold_rows: ClassVar[int | None] = None
    """Training rows of a cross-validation fold, at most: a random subset where there are more.

    For methods whose time grows with the square of the number of rows. The selected method is
    fitted to all rows."""


class DetectorTags(Tags):
    """Base class of the detectors in `ilk.detectors`: `fit` models normal rows, as a `Detector`."""

    needs_labels = False
    uses_unlabelled = True
    reads_patches: ClassVar[bool] = False
    """A row holds the features of all patches of an image; `height` and `width` are its fields, and
    its models have `score_with_map`."""


class DiscoveryTags(Tags):
    """Base class of the methods in `ilk.discovery`: `fit` groups the unlabelled rows.

    The logits of the fitted model are `[n, k + new]`: the columns of unnamed groups come last. With
    `needs_labels = False` the groups are found without labels, and labels only name columns.
    """

    uses_unlabelled = True


def describe(method: Any) -> str:
    """Return a method as a call: its name and the fields that differ from their defaults.

    The result can be parsed back: `ilk.methods.parse(describe(m)) == m`. A method that is made of
    others has a `description` of its own, which cannot.
    """
    if isinstance(method, FlattenedImages):
        return describe(method.method)
    if isinstance(description := getattr(method, "description", None), str):
        return description
    arguments = [
        f"{f.name}={getattr(method, f.name)!r}"
        for f in fields(method)
        if f.default is MISSING or getattr(method, f.name) != f.default
    ]
    return f"{type(method).__name__}({', '.join(arguments)})"


def labelled_features(data: Data, method: object) -> Data:
    """Return the rows of `data` that have a label and a positive weight, as float32 features.

    Args:
        data: Rows `[n, d]`.
        method: The method that asks; it is named in the messages, and its tags say whether it
            supports weights.

    Raises:
        NoLabels: If no row has a label.
        InputError: If the rows are not vectors, or their weights differ and `method` does not
            support weights.
    """
    name, is_used = type(method).__name__, (data.y >= 0) & (data.weight > 0)
    labelled = data if is_used.all() else data.take(is_used)  # avoids a copy of the rows
    if not len(labelled):
        raise NoLabels(
            f"{name} learns from labels and there are none; "
            "label a few images, or use ZeroShot with an encoder that reads text"
        )
    if labelled.x.ndim != 2:
        raise InputError(
            f"{name} reads features [n, d] and got an array of shape "
            f"{labelled.x.shape}; encode the images first"
        )
    check_weights(data, method)
    return replace(labelled, x=np.asarray(labelled.x, np.float32))


def check_weights(data: Data, method: object) -> None:
    """Refuse weights that differ between rows for a method that would ignore them.

    Labelled rows of weight 0 are left to `labelled_features`, which drops them for any method.

    Raises:
        InputError: If `method` does not support weights and the weights of its rows differ.
    """
    if getattr(method, "supports_weights", False) or getattr(method, "weighted_loss", False):
        return
    uses_unlabelled = getattr(method, "uses_unlabelled", False)
    is_used = np.where(data.y >= 0, data.weight > 0, uses_unlabelled)
    weight = data.weight[is_used]
    if len(weight) and (weight != weight[0]).any():
        raise InputError(
            f"{type(method).__name__} does not support row weights and they differ "
            f"(from {weight.min():g} to {weight.max():g}); use a method that does, such as GDA, "
            "or set all weights to 1"
        )


def class_embeddings_of(data: Data, method: object) -> Features:
    """Return the class embeddings of `data`, `[k, d]`, as wide as its features.

    Raises:
        InputError: If there are none, or their width differs from that of the features.
    """
    name = type(method).__name__
    if data.class_embeddings is None:
        raise InputError(
            f"{name} needs a text embedding of each class and there is none; "
            "use an encoder that reads text, such as clip/NAME"
        )
    if data.x.ndim != 2 or data.class_embeddings.shape[1] != data.x.shape[1]:
        raise InputError(
            f"{name}: features of shape {data.x.shape} and text embeddings of shape "
            f"{data.class_embeddings.shape} have different widths; both must come from one encoder"
        )
    return data.class_embeddings
