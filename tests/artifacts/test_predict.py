"""`predict` and `predict_proba` of a classifier, fitted or loaded, on images of any form."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from PIL import Image

import ilk
from helpers.digit_folders import write_digits
from helpers.frames import Frame
from ilk.artifacts.classifier import Classifier
from ilk.core.errors import InputError, NoImages, Unavailable
from ilk.store import Store


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("d"), {"zero 0": 20, "one 1": 15, "six 6": 15})


@pytest.fixture(scope="module")
def files(home: Path) -> list[Path]:
    return sorted(home.rglob("*.png"))


@pytest.fixture(scope="module")
def fitted(home: Path) -> Classifier:
    return ilk.fit(home, encoders=("hog", "pixels"), methods=("GDA", "Ridge"), folds=3)


def reload(classifier: Classifier, folder: Path) -> Classifier:
    return ilk.load(classifier.save(folder))


def unpickle(classifier: Classifier, folder: Path) -> Classifier:
    restored = pickle.loads(pickle.dumps(classifier))
    assert isinstance(restored, Classifier)
    return restored


def undump(classifier: Classifier, folder: Path) -> Classifier:
    joblib.dump(classifier, folder / "classifier.joblib")
    return joblib.load(folder / "classifier.joblib")


FORMS: dict[str, Callable[[Classifier, Path], Classifier]] = {
    "fitted": lambda classifier, _: classifier,
    "loaded": reload,
    "unpickled": unpickle,
    "dumped by joblib": undump,
    "copied": lambda classifier, _: copy.deepcopy(classifier),
    "saved from a pickle": lambda c, folder: reload(unpickle(c, folder), folder / "again"),
}


def read_array(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image)


def strip_paths(predictions: list[ilk.Prediction]) -> list[tuple[Any, ...]]:
    """What was predicted, rounded: sums depend on the number of rows in the last bits."""
    return [
        (p.name, round(p.probability, 7), p.prediction_set, round(p.unknown_score, 7))
        for p in predictions
    ]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_classifier_predicts_every_form_of_image(form, fitted, files, tmp_path):
    classifier = FORMS[form](fitted, tmp_path)
    arrays = [read_array(file) for file in files[::7]]
    wanted = strip_paths(fitted.predict(files[::7]))
    stack = np.stack(arrays)[..., None]
    for inputs in (
        files[::7],
        tuple(map(str, files[::7])),
        arrays,
        stack,
        map(Image.fromarray, arrays),
        [file.read_bytes() for file in files[::7]],
        Frame({"path": files[::7]}),
        ilk.read(files[::7]),
        ilk.read(arrays),
    ):
        assert strip_paths(classifier.predict(inputs)) == wanted
    p = classifier.predict_proba(stack)
    assert p.shape == (len(arrays), 3)
    assert [classifier.classes[c] for c in p.argmax(1)] == [name for name, *_ in wanted]
    np.testing.assert_allclose(p.max(1), [value for _, value, *_ in wanted], atol=1e-6)
    assert repr(classifier) == repr(fitted)
    assert classifier._repr_html_() == fitted._repr_html_()
    assert str(classifier.leaderboard) == str(fitted.leaderboard)


def test_one_image_gives_one_prediction(fitted, files):
    [wanted] = strip_paths(fitted.predict(files[:1]))
    array = read_array(files[0])
    buffer = io.BytesIO(files[0].read_bytes())
    for image in (files[0], str(files[0]), array, array[..., None], buffer, buffer.getvalue()):
        prediction = fitted.predict(image)
        assert isinstance(prediction, ilk.Prediction)
        assert strip_paths([prediction]) == [wanted]
        assert fitted.predict_proba(image).shape == (1, 3)
    assert fitted.predict(str(files[0])).path == str(files[0])
    assert fitted.predict(array).path == "image"


def test_order_and_number_are_kept_with_unreadable_images_among_them(fitted, files):
    array = read_array(files[-1])
    inputs = [files[0], b"junk", array, "none.png", files[0]]
    predictions = fitted.predict(inputs)
    assert [p.path for p in predictions] == [
        str(files[0]), "image 1", "image 2", "none.png", str(files[0])
    ]  # fmt: skip
    assert [bool(p.error) for p in predictions] == [False, True, False, True, False]
    assert strip_paths(predictions[:1]) == strip_paths(predictions[4:])
    assert predictions[2].name == fitted.predict(files[-1]).name
    assert str(predictions[1]).startswith("image 1: not an image")


def test_probabilities_of_an_unreadable_image_are_refused_by_its_name(fitted, files):
    with pytest.raises(InputError, match=r"^image 1 cannot be read \(not an image: begins with"):
        fitted.predict_proba([files[0], b"junk"])
    with pytest.raises(InputError, match=r"^none.png cannot be read \(missing"):
        fitted.predict_proba("none.png")
    assert fitted.predict_proba([]).shape == (0, 3)
    assert fitted.predict([]) == []


def test_a_folder_gives_a_list_as_on_the_command_line(fitted, home, files, tmp_path):
    assert fitted.predict(home) == fitted.predict(files)
    with pytest.raises(NoImages, match="there is no file in"):
        fitted.predict(tmp_path)


def test_images_give_one_prediction_per_row(fitted, home, files, tmp_path):
    images = ilk.read([files[0], tmp_path / "none.png", files[0], read_array(files[1])])
    predictions = fitted.predict(images)
    assert len(predictions) == len(images.rows) == 4
    assert [bool(p.error) for p in predictions] == [False, True, False, False]
    assert predictions[0].path == str(files[0])


def test_floats_are_refused_before_anything_is_predicted(fitted):
    with pytest.raises(InputError, match="the image is an array of float64"):
        fitted.predict(np.zeros((8, 8, 3)))
    with pytest.raises(InputError, match="image 0 is an array of float64"):
        next(fitted.stream([np.zeros((8, 8, 3))]))


def test_images_in_memory_are_encoded_once(fitted, files, tmp_path, monkeypatch):
    embedded = []
    encoder = type(fitted.encoder)
    embed = encoder.embed
    monkeypatch.setattr(encoder, "embed", lambda s, b: embedded.append(len(b)) or embed(s, b))
    store = Store(tmp_path / "store.sqlite")
    arrays = [read_array(file) for file in files[:5]]
    first = fitted.predict([*arrays, *arrays], store=store)
    assert sum(embedded) == len({array.tobytes() for array in arrays})
    n = sum(embedded)
    again = fitted.predict(map(Image.fromarray, arrays), store=store)
    assert sum(embedded) == n
    assert strip_paths(first[:5]) == strip_paths(first[5:]) == strip_paths(again)


def test_a_stream_holds_few_images_in_memory(fitted, monkeypatch):
    monkeypatch.setattr("ilk.artifacts.image_blocks.BLOCK_BYTES", 4 * 64)
    made = 0

    def endless():
        nonlocal made
        while True:
            made += 1
            yield np.full((8, 8), made % 250, np.uint8)

    stream = fitted.stream(endless())
    assert [next(stream).path for _ in range(5)] == [f"image {i}" for i in range(5)]
    assert made == 8


def test_a_fit_of_images_in_memory_equals_that_of_their_files(files, tmp_path):
    labels = [file.parent.name for file in files]
    options: dict[str, Any] = {"encoders": "hog", "methods": "GDA", "folds": 3, "labels": labels}
    by_path = ilk.fit(files, **options)
    arrays = [read_array(file) for file in files]
    by_array = ilk.fit(np.stack(arrays)[..., None], **options)
    by_frame = ilk.fit(
        Frame({"path": files, "label": labels}), encoders="hog", methods="GDA", folds=3
    )
    for other in (by_array, by_frame):
        np.testing.assert_allclose(
            other.predict_proba(files), by_path.predict_proba(files), atol=1e-9
        )


def test_the_report_of_images_in_memory_shows_them_and_a_pickle_holds_no_others(files, tmp_path):
    labels = [file.parent.name for file in files]
    labels[3] = "six 6"
    arrays = [np.kron(read_array(file), np.ones((40, 40), np.uint8)) for file in files]
    classifier = ilk.fit(arrays, labels=labels, encoders="hog", methods="GDA", folds=3)
    report = (classifier.save(tmp_path / "model") / "report.html").read_text(encoding="utf-8")
    assert "image 3" in report
    assert "data:image" in report
    assert "No picture" not in report
    assert "ilk.fit(images, FitConfig(" in report
    assert len(pickle.dumps(classifier)) < sum(array.nbytes for array in arrays) / 2


def test_an_unpickled_classifier_names_the_encoder_that_is_missing(fitted, monkeypatch):
    content = pickle.dumps(fitted)
    key = fitted.encoder.space.key
    monkeypatch.setattr("ilk.encoders.hog.NORM_CLIP", 0.3)
    altered = content.replace(key.encode(), key[::-1].encode())
    assert altered != content
    with pytest.raises(Unavailable, match="is not the encoder that was fitted with"):
        pickle.loads(altered)


def test_a_copy_shares_the_encoder_and_nothing_else(fitted):
    other = copy.deepcopy(fitted)
    assert other.encoder is fitted.encoder
    assert other.model is not fitted.model
    assert other.metadata is not fitted.metadata
    other.metadata["seed"] = 99
    assert fitted.metadata["seed"] == 0


def test_a_prediction_prints_its_name_and_probability():
    plain = ilk.Prediction("a.png", "cat", 0.931, ("cat",), False, 1.0)
    assert str(plain).replace("\u202f", " ") == "cat 93.1 %"
    several = ilk.Prediction("a.png", "cat", 0.6, ("cat", "dog", "owl"), True, 9.0)
    assert str(several).replace("\u202f", " ") == "cat 60.0 %, or dog, owl (unknown)"
    assert str(ilk.Prediction.from_error("b.png", "empty: 0 bytes")) == "b.png: empty: 0 bytes"
    escape = ilk.Prediction("a\x1b[2J.png", "c\x1b[31mat\u202e", 0.5, (), False, 1.0)
    assert "\x1b" not in str(escape) + repr(escape)
    assert "\u202e" not in str(escape) + repr(escape)
    assert pickle.loads(pickle.dumps(several)) == several
