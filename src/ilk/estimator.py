"""Methods as scikit-learn classifiers; the only module that depends on its estimator API."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ilk.core.contracts import DetectorTags, DiscoveryTags, Method, describe
from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.core.metrics import softmax
from ilk.methods import parse


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

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MethodClassifier:
        """Fit the method to rows `X [n, d]` and labels `y [n]`.

        Args:
            X: Rows.
            y: Labels.
            sample_weight: How many times each row counts, `[n]`, >= 0; None counts each once.

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
        data = Data(X, index, tuple(map(str, self.classes_)), weight=weight)
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
