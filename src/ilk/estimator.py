"""Any method that reads features as a scikit-learn classifier. The only file that knows it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from ilk.data import Data
from ilk.errors import InputError
from ilk.methods import parse
from ilk.metrics import softmax
from ilk.models import Method, describe


class MethodClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A method under scikit-learn's contract: grids, pipelines and cross-validation take it.

    Args:
        method: As it is typed, `GDA(shrink=0.2)`, or a method itself.

    Attributes:
        classes_: The labels, sorted.
        n_features_in_: Width of a row.
        model_: What the method learnt.

    Raises:
        InputError: The method reads images, text embeddings or scores of classes, which there is no
            place for.
        ValueError: Bad rows or labels, in scikit-learn's own words.
    """

    def __init__(self, method: str | Method = "GDA()") -> None:
        self.method = method

    def fit(self, X: Any, y: Any) -> MethodClassifier:
        """Learn from rows `X [n, d]` and labels `y [n]`."""
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        self.classes_, index = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{describe(self._method())} needs at least two classes; y holds one class only"
            )
        data = Data(X, index, tuple(map(str, self.classes_)))
        self.model_ = self._method().fit(data)
        return self

    def _method(self) -> Method:
        method = parse(self.method) if isinstance(self.method, str) else self.method
        kind: Any = type(method)
        wants = "images" if kind.reads != "features" else ""
        wants = wants or "text embeddings of the classes" * kind.needs_hints
        wants = wants or "one score a class" * kind.needs_scores
        if kind.detects or kind.unnamed:
            raise InputError(f"{kind.__name__} tells no named classes apart; it is no classifier")
        if wants:
            raise InputError(f"{kind.__name__} wants {wants}, which scikit-learn cannot pass on")
        return method

    def _logits(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        return np.asarray(self.model_.logits(X), np.float64)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Logits `[n, k]`; for two classes the second less the first, `[n]`."""
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Softmax of the logits, `[n, k]`; not calibrated."""
        return np.asarray(softmax(self._logits(X), axis=1))

    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest label of each row, `[n]`."""
        answer = self._logits(X).argmax(1)
        return np.asarray(self.classes_[answer])
