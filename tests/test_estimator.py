"""Every method that reads features obeys scikit-learn's own contract."""

import inspect
import re
import sys
from functools import partial

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils._testing import assert_allclose_dense_sparse
from sklearn.utils.estimator_checks import parametrize_with_checks

from ilk.core.errors import InputError, UnknownName
from ilk.estimator import MethodClassifier
from ilk.methods import list_methods
from ilk.methods.gda import GDA

CLASSIFIERS = {
    name: kind
    for name, kind in list_methods().items()
    if kind.input_kind == "features"
    and not (kind.needs_class_embeddings or kind.needs_class_model or kind.needs_class_scores)
}
TRAINED = {  # by the training loop: the adapter is the same, and fifty checks of each take minutes
    name
    for name, kind in CLASSIFIERS.items()
    if re.search(
        r"ilk\.training\.(heads|trainer|recipe|class_incremental_head|objectives)",
        inspect.getsource(sys.modules[kind.__module__]),
    )
}
NAMES = sorted(set(CLASSIFIERS) - TRAINED)
FIXED = {  # hyperparameters that are else chosen on held-out folds
    name: MethodClassifier(f"{name}(C=1.0)") for name in ("LogisticRegression", "PriorCorrection")
}


@parametrize_with_checks([MethodClassifier(name) for name in NAMES])
def test_scikit_learns_checks(estimator, check, monkeypatch):
    if check.func.__name__ == "check_sample_weight_equivalence_on_dense_data":
        estimator = FIXED.get(estimator.method, estimator)  # folds deal copies of a row apart
        close = partial(assert_allclose_dense_sparse, rtol=1e-3, atol=1e-5)  # models are float32
        monkeypatch.setattr(estimator_checks, "assert_allclose_dense_sparse", close)
    refusal = ""
    try:
        check(estimator)
    except InputError as error:
        refusal = str(error)
    if refusal:  # the one way of not honouring weights is to refuse them
        assert not CLASSIFIERS[estimator.method].supports_weights
        assert "does not support row weights" in refusal


def test_sample_weight_reaches_the_method():
    x, y = load_iris(return_X_y=True)
    weight = np.random.default_rng(0).integers(0, 4, len(y))
    weighted = MethodClassifier("GDA").fit(x, y, sample_weight=weight).decision_function(x)
    rows = np.repeat(np.arange(len(y)), weight)
    repeated = MethodClassifier("GDA").fit(x[rows], y[rows]).decision_function(x)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-4, atol=1e-4)
    assert np.abs(weighted - MethodClassifier("GDA").fit(x, y).decision_function(x)).max() > 1e-2
    with pytest.raises(InputError, match="RCAL does not support row weights"):
        MethodClassifier("RCAL").fit(x, y, sample_weight=weight)


@pytest.mark.parametrize("name", sorted(TRAINED))
def test_a_trained_head_is_a_classifier_too(name):
    x, y = load_iris(return_X_y=True)
    names = np.array(["a", "b", "c"], object)[y]
    made = MethodClassifier(name).fit(x[::2], names[::2])
    assert made.predict_proba(x).shape == (len(x), 3)
    assert made.score(x[1::2], names[1::2]) > 0.8


def test_grid_search_and_pipelines_take_it():
    x, y = load_iris(return_X_y=True)
    pipe = make_pipeline(StandardScaler(), MethodClassifier())
    grid = GridSearchCV(
        pipe,
        {"methodclassifier__method": ["GDA(shrink=1.0)", "GDA(shrink=0.01)", GDA(shrink=0.1)]},
        scoring="neg_log_loss",
    ).fit(x, y)
    assert grid.best_score_ > -0.2
    assert grid.best_params_["methodclassifier__method"] != "GDA(shrink=1.0)"
    assert cross_val_score(pipe, x, y).mean() > 0.95


def test_labels_of_any_kind_come_back_and_two_classes_have_one_score():
    x, y = load_digits(return_X_y=True)
    keep = (y == 3) | (y == 8)
    names = np.array(["three", "eight"], object)[(y[keep] == 8).astype(int)]
    made = clone(MethodClassifier("Ridge")).fit(x[keep][::2], names[::2])
    score, share = made.decision_function(x[keep]), made.predict_proba(x[keep])
    assert list(made.classes_) == ["eight", "three"]
    assert score.shape == (keep.sum(),)
    np.testing.assert_allclose(share[:, 1], 1 / (1 + np.exp(-score)), rtol=1e-6, atol=1e-12)
    assert ((score > 0) == (made.predict(x[keep]) == "three")).all()
    assert made.score(x[keep][1::2], names[1::2]) > 0.95


def test_a_method_that_cannot_be_had_here_is_refused_in_words():
    x, y = load_iris(return_X_y=True)
    with pytest.raises(InputError, match="text embeddings"):
        MethodClassifier("ZeroShot()").fit(x, y)
    with pytest.raises(InputError, match="one score per class"):
        MethodClassifier("DiffusionClassifier()").fit(x, y)
    with pytest.raises(UnknownName, match="GDA"):
        MethodClassifier("GDDA").fit(x, y)
