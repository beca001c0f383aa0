"""`ImageClassifier`: a scikit-learn classifier over images.

scikit-learn's own estimator checks fit random matrices of floats, which are no images, so they run
on `MethodClassifier` (test_estimator.py); what they check is checked here on images.
"""

from __future__ import annotations

import copy
import pickle
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

import ilk
from helpers.digit_folders import write_digits
from helpers.frames import Frame
from ilk.core.errors import InputError, UnknownName
from ilk.fitting.config import FitConfig

FAST = {"encoders": "hog", "methods": "GDA", "folds": 3}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("d"), {"zero 0": 18, "one 1": 15, "six 6": 15})


@pytest.fixture(scope="module")
def paths(home: Path) -> list[Path]:
    return sorted(home.rglob("*.png"))


@pytest.fixture(scope="module")
def y(paths: list[Path]) -> np.ndarray:
    return np.array([path.parent.name for path in paths])


@pytest.fixture(scope="module")
def arrays(paths: list[Path]) -> np.ndarray:
    images = []
    for path in paths:
        with Image.open(path) as image:
            images.append(np.asarray(image))
    return np.stack(images)[..., None]


def test_parameters_are_the_settings_of_a_fit():
    classifier = ilk.ImageClassifier(**FAST)
    parameters = classifier.get_params()
    assert set(parameters) == {f.name for f in fields(FitConfig)} - {"classes"}
    assert parameters["encoders"] == "hog"
    assert parameters["seed"] == 0
    copied = clone(classifier.set_params(seed=3))
    assert copied.get_params() == classifier.get_params()
    assert copied.seed == 3
    assert "encoders='hog'" in repr(classifier)
    assert is_classifier(classifier)
    with pytest.raises(UnknownName, match="no setting is called 'fold'; the nearest is folds"):
        ilk.ImageClassifier(fold=3)
    with pytest.raises(ValueError, match="Invalid parameter 'fold'"):
        classifier.set_params(fold=3)


@pytest.mark.parametrize(
    "labels",
    [
        np.array([10, 2, -3]),
        np.array([2.0, 1.0, 0.0]),
        np.array([True, False, True]),
        ["ü", "b", "a"],
        np.array(["c", "b", "a"], object),
        ["Cat", "cat", "CAT"],
        ["", "b", "c"],
    ],
    ids=str,
)
def test_labels_of_any_type_come_back_as_given(labels, arrays, y):
    given = np.array(labels)[np.unique(y, return_inverse=True)[1]]
    classifier = ilk.ImageClassifier(**FAST).fit(arrays, list(given))
    predicted = classifier.predict(arrays)
    assert predicted.dtype == np.array(given.tolist()).dtype
    assert list(classifier.classes_) == sorted(set(given.tolist()))
    assert np.mean(predicted == given) > 0.9
    p = classifier.predict_proba(arrays)
    assert p.shape == (len(arrays), len(classifier.classes_))
    assert (classifier.classes_[p.argmax(1)] == predicted).all()
    np.testing.assert_allclose(p.sum(1), 1)
    assert classifier.score(arrays, given) == np.mean(predicted == given)


def test_every_form_of_images_gives_the_same_classifier(paths, arrays, y, home):
    texts = np.array(list(map(str, paths)))
    frame = Frame({"path": list(texts), "label": ["wrong"] * len(texts)})
    forms = [paths, texts, texts.reshape(-1, 1), arrays, list(arrays), frame]
    forms.append([path.read_bytes() for path in paths])
    wanted = ilk.ImageClassifier(**FAST).fit(paths, y).predict_proba(paths)
    for X in forms:
        p = ilk.ImageClassifier(**FAST).fit(X, y).predict_proba(X)
        np.testing.assert_allclose(p, wanted, atol=1e-9)
    np.testing.assert_allclose(
        ilk.fit(home, **FAST).predict_proba(paths)[:, [0, 1, 2]], wanted, atol=0.02
    )


def test_it_works_in_cross_validation_search_and_pipeline(paths, arrays, y):
    classifier = ilk.ImageClassifier(**FAST)
    assert cross_val_score(classifier, paths, y, cv=3).mean() > 0.9
    p = cross_val_predict(classifier, arrays, y, cv=3, method="predict_proba")
    assert p.shape == (len(y), 3)
    search = GridSearchCV(classifier, {"methods": ["NearestClassMean", "GDA"]}, cv=3)
    search.fit(arrays, y)
    assert set(search.best_params_) == {"methods"}
    assert search.best_score_ > 0.9
    invert = FunctionTransformer(lambda X: 255 - X)
    pipeline = Pipeline([("invert", invert), ("classify", classifier)]).fit(arrays, y)
    assert pipeline.score(arrays, y) > 0.9
    assert cross_val_score(pipeline, arrays, y, cv=3).mean() > 0.9


def test_a_fold_learns_nothing_from_the_images_it_is_tested_on(arrays, y):
    """With other test images, and with other test labels, the model is bit for bit the same."""
    rows = np.arange(len(y))
    train, test = rows[rows % 3 > 0], rows[rows % 3 == 0]

    class Spy(ilk.ImageClassifier):
        fitted: list[np.ndarray] = []  # noqa: RUF012

        def fit(self, X, y):
            super().fit(X, y)
            Spy.fitted.append(self.predict_proba(arrays[train]))
            return self

    Spy.__init__.__signature__ = ilk.ImageClassifier.__init__.__signature__
    for X, labels in ((arrays, y), (arrays.copy(), y.copy())):
        if Spy.fitted:
            X[test], labels[test] = 255 - X[test], "one 1"
        cross_val_score(
            Spy(encoders="pixels", methods="GDA", folds=3), X, labels, cv=[(train, test)]
        )
    assert len(Spy.fitted) == 2
    np.testing.assert_array_equal(*Spy.fitted)


def test_a_fitted_one_is_pickled_and_copied(arrays, y):
    classifier = ilk.ImageClassifier(**FAST).fit(arrays, y)
    wanted = classifier.predict_proba(arrays)
    for other in (pickle.loads(pickle.dumps(classifier)), copy.deepcopy(classifier)):
        np.testing.assert_array_equal(other.predict_proba(arrays), wanted)
        assert other.get_params() == classifier.get_params()
    with pytest.raises(NotFittedError):
        clone(classifier).predict(arrays)
    assert isinstance(classifier.classifier_, ilk.Classifier)


def test_unreadable_images_and_wrong_inputs_get_one_sentence(paths, arrays, y, tmp_path):
    classifier = ilk.ImageClassifier(**FAST)
    cut = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(cut)
    cut.write_bytes(cut.read_bytes()[:-900])
    for broken in (tmp_path / "none.png", cut):
        with pytest.raises(InputError, match=rf"{broken.name} cannot be read \("):
            classifier.fit([broken, *paths[1:]], y)
    classifier.fit(arrays, y)
    with pytest.raises(InputError, match=r"none.png cannot be read \(missing"):
        classifier.predict([paths[0], tmp_path / "none.png"])
    for one in (paths[0], str(tmp_path), arrays[0], paths[0].read_bytes()):
        with pytest.raises(InputError, match="X is a single path or image"):
            classifier.fit(one, y)
        with pytest.raises(InputError, match="X is a single path or image"):
            classifier.predict(one)
    with pytest.raises(InputError, match="array of float64"):
        classifier.fit(arrays / 255, y)
    with pytest.raises(InputError, match="47 labels for 48 images"):
        classifier.fit(arrays, y[1:])
    with pytest.raises(ValueError, match="Unknown label type"):
        classifier.fit(arrays, np.linspace(0, 1, len(y)))


def test_images_that_are_given_twice_are_named_in_a_warning(arrays, y):
    rows = [*range(len(y)), 0]
    with pytest.warns(UserWarning, match=r"^1 of 49 images are not used, .* image 48: duplicate"):
        ilk.ImageClassifier(**FAST).fit(arrays[rows], y[rows])


@pytest.mark.parametrize(
    "labels",
    [
        np.array([1.0, 2.0]),
        np.array([True, False]),
        np.array(["cat ", "cat"]),
        np.array(["1.0", "1"]),
        np.array(["", "x"]),
        np.array(["NA", "nan"]),
    ],
)
def test_labels_of_any_kind_come_back_as_they_were_given(labels, tmp_path):
    rng = np.random.default_rng(0)
    images = np.concatenate([rng.integers(low, low + 60, (8, 8, 8, 3)) for low in (0, 180)]).astype(
        np.uint8
    )
    y = np.repeat(labels, 8)
    model = ilk.ImageClassifier(encoders="pixels", methods="GDA", single=True).fit(images, y)
    assert (model.predict(images) == y).all()
    assert (model.predict_proba(images).max(1) > 0.5).all()
