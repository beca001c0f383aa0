"""Methods and `ilk.fit` as scikit-learn classifiers; the only module that knows its estimators."""

from __future__ import annotations

import inspect
import os
import warnings
from inspect import Parameter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ilk.core.contracts import DetectorTags, DiscoveryTags, Method, describe
from ilk.core.data import UNGROUPED, Data
from ilk.core.errors import InputError, UnknownName
from ilk.core.metrics import softmax
from ilk.fitting.fit import FitConfig, fit_with_report
from ilk.fitting.settings import FIT_SETTINGS
from ilk.images import (
    Images,
    escape_path,
    is_single,
    normalize_class_name,
    parse_labels,
    read_images,
)
from ilk.images.tables.frames import is_frame, list_paths
from ilk.methods import parse

COPY_REASONS = ("duplicate", "same content under two labels")
IMAGE_SETTINGS = {name: d for name, d in FIT_SETTINGS.items() if name != "classes"}


class MethodClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A method as a scikit-learn classifier, for grid search, pipelines and cross-validation.

    Args:
        method: A method, or its text form, such as "GDA(shrink=0.2)".

    Attributes:
        classes_: The labels, sorted, `[k]`.
        n_features_in_: Number of features.
        model_: The fitted model.

    Raises:
        InputError: If the method needs images, text embeddings or class scores, which scikit-learn
            cannot pass on.
        ValueError: If rows or labels are invalid, with scikit-learn's message.
    """

    def __init__(self, method: str | Method = "GDA()") -> None:
        self.method = method

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None
    ) -> MethodClassifier:
        """Fit the method to rows `X [n, d]` and labels `y [n]`.

        Args:
            X: Rows.
            y: Labels.
            sample_weight: How many times each row counts, `[n]`, >= 0; None counts each once.
            groups: Group of each row, `[n]`, such as a patient: hyperparameters that are chosen
                inside the method are tested on whole groups. None makes each row a group.

        Raises:
            InputError: If weights differ and the method does not support them.
            ValueError: If rows, labels or weights are invalid.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        self.classes_, index = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{describe(self._method())} needs at least two classes; y holds one class only"
            )
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        classes = tuple(map(str, self.classes_))
        data = Data(X, index, classes, weight=weight, group=_number_groups(groups, len(X)))
        self.model_ = self._method().fit(data)
        return self

    def _method(self) -> Method:
        method = parse(self.method) if isinstance(self.method, str) else self.method
        method_class: Any = type(method)
        requirement = "images" if method_class.input_kind != "features" else ""
        requirement = (
            requirement or "text embeddings of the classes" * method_class.needs_class_embeddings
        )
        requirement = requirement or "one score per class" * method_class.needs_class_scores
        requirement = requirement or "an encoder that knows names" * method_class.needs_class_model
        if isinstance(method, DetectorTags | DiscoveryTags):
            raise InputError(
                f"{method_class.__name__} is not a classifier of named classes; use one that is"
            )
        if requirement:
            raise InputError(
                f"{method_class.__name__} needs {requirement}, which scikit-learn cannot pass on"
            )
        return method

    def _logits(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        return np.asarray(self.model_.logits(X), np.float64)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return logits `[n, k]`; for two classes, the second minus the first, `[n]`."""
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the softmax of the logits, `[n, k]`; not calibrated."""
        return np.asarray(softmax(self._logits(X), axis=1))

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most likely label of each row, `[n]`."""
        predicted = self._logits(X).argmax(1)
        return np.asarray(self.classes_[predicted])


class ImageClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """`ilk.fit` as a scikit-learn classifier over images: paths, files, Pillow images or arrays.

    It encodes the images, chooses the best encoder and method by cross-validation inside the images
    it is fitted to, and calibrates: nothing is learned from other images. Features are cached by
    content, so further folds and candidates of a search encode nothing again.

    `X` is a list, an array of paths `[n]` or `[n, 1]`, a uint8 array `[n, h, w, c]` or a DataFrame
    with a column of paths (other columns are ignored). Labels may have any type that
    scikit-learn sorts; they come back as they were given.

    scikit-learn's own estimator checks fit random matrices of floats, which are not images;
    `MethodClassifier`, which takes features, passes them.

    Args:
        settings: Any field of `FitConfig` except `classes`, such as `encoders`, `methods`, `folds`
            and `seed`; a list of one name may be given as the name.

    Attributes:
        classes_: The labels, sorted, `[k]`.
        classifier_: The fitted `Classifier`, with its report, leaderboard and prediction sets.
    """

    def __init__(self, **settings: Any) -> None:
        if unknown := sorted(set(settings) - set(IMAGE_SETTINGS)):
            raise UnknownName("setting", unknown[0], IMAGE_SETTINGS)
        for name, default in IMAGE_SETTINGS.items():
            setattr(self, name, settings.get(name, default))

    __init__.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)]
        + [Parameter(n, Parameter.KEYWORD_ONLY, default=d) for n, d in IMAGE_SETTINGS.items()]
    )

    def fit(self, X: Any, y: Any, groups: Any = None) -> ImageClassifier:
        """Fit to images `X`, `n` of them, and labels `y [n]`.

        Args:
            X: Images.
            y: Labels. Only one of several images with the same bytes is used, and none of them if
                their labels differ; a warning says how many are not used.
            groups: Group of each image, `[n]`, such as a patient or a video, None for an image on
                its own: no fold of the selection and the calibration splits a group. scikit-learn
                passes on the `groups` of its own splitters after `set_fit_request(groups=True)`.

        Raises:
            InputError: An image cannot be read, `X` holds no images, or there is only one class.
            ValueError: Labels are missing, continuous, or not as many as `X`.
        """
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.classes_, index = np.unique(y, return_inverse=True)
        names = _name_classes(self.classes_)
        images = read_images(
            _check_several(X), labels=[names[i] for i in index], groups=groups, verify=False
        )
        _check_readable(images)
        config = FitConfig(**{name: getattr(self, name) for name in IMAGE_SETTINGS})
        self.classifier_, report_data = fit_with_report(images, config)
        _check_readable(report_data.images)
        _warn_of_copies(images)
        position = {name: i for i, name in enumerate(self.classifier_.classes)}
        self._columns = [position.get(name, -1) for name in names]
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return calibrated probabilities of images `X`, `[n, k]`, in the order of `classes_`.

        Raises:
            InputError: An image cannot be read.
        """
        check_is_fitted(self)
        p = self.classifier_.predict_proba(_as_single_images(_check_several(X)))
        return np.asarray(np.pad(p, ((0, 0), (0, 1)))[:, self._columns])

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most likely label of each image of `X`, `[n]`.

        Raises:
            InputError: An image cannot be read.
        """
        best = self.predict_proba(X).argmax(1)
        return np.asarray(self.classes_[best])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.no_validation = True
        return tags


def _number_groups(groups: Any, n: int) -> NDArray[np.int64]:
    """Return the group of each row as a number, `[n]`; -1 without groups.

    Raises:
        ValueError: There is another number of groups than rows.
    """
    if groups is None:
        return np.full(n, UNGROUPED)
    names = np.asarray(groups)
    if names.shape != (n,):
        raise ValueError(f"groups has shape {names.shape}; {n} rows need ({n},)")
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _check_several(X: Any) -> Any:
    """Return `X` if it is several images; of a DataFrame its paths.

    Raises:
        InputError: `X` is one image or a folder.
    """
    if isinstance(X, str | os.PathLike) or is_single(X):
        raise InputError(
            "X is a single path or image; scikit-learn needs a list of images, with one label for "
            "each; ilk.fit(folder) fits a folder"
        )
    return list_paths(X) if is_frame(X) else X


def _name_classes(labels: NDArray[Any]) -> list[str]:
    """Return one class name per label: its text, or its number where texts are missing or equal."""
    names = parse_labels(labels)
    texts = [name for name in names if name is not None]
    if len({normalize_class_name(name) for name in texts}) == len(names):
        return texts
    return [f"class {i}" for i in range(len(names))]


def _check_readable(images: Images) -> None:
    """Raise InputError for the first image that cannot be read."""
    for row in images.refused:
        if row.reason not in COPY_REASONS:
            raise InputError(
                f"{escape_path(row.path)} cannot be read ({row.reason}: "
                f"{escape_path(row.detail)}); leave it and its label out"
            )


def _warn_of_copies(images: Images) -> None:
    """Warn of images that are given twice."""
    if copies := images.refused:
        warnings.warn(
            f"{len(copies)} of {len(images.rows)} images are not used, for example "
            f"{escape_path(copies[0].path)}: {copies[0].reason}, {escape_path(copies[0].detail)}",
            stacklevel=3,
        )


def _as_single_images(X: Any) -> Any:
    """Return images of which each gives one row: in a list, a folder would stand for its files."""
    return iter(X) if isinstance(X, list | tuple) else X
