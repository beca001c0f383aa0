"""The benchmark of structured labels runs small and evaluates its claims."""

import numpy as np

from benchmarks import image_text_model
from benchmarks.structure import run as structure
from ilk.core.data import Data


def test_a_small_run_compares_loki_with_its_most_likely_class():
    results = structure.run(small=True)
    assert [t["metric"] for t in results["tables"]] == [
        "mean squared distance to the true class",
        "accuracy",
        "accuracy on unseen classes",
        "accuracy on seen classes",
    ]
    unseen = {row["method"]: row["score"]["mean"] for row in results["tables"][2]["scores"]}
    assert unseen["most likely class"] == 0  # argmax cannot answer what it never saw
    claims = {(c["entry"], c["baseline"]) for t in results["tables"] for c in t["claims"]}
    assert ("loki-frechet-mean", "Loki, permuted metric") in claims


def test_related_classes_are_nearer_in_the_tree():
    names = structure.GARMENT_NAMES
    distances = structure.measure_tree(names)
    far = lambda a, b: distances[names.index(a), names.index(b)]  # noqa: E731
    assert far("shirt", "T-shirt") == 2
    assert far("shirt", "coat") == 4
    assert far("shirt", "boot") == 6
    assert far("shirt", "bag") == 6
    assert far("dress", "trouser") == 2


def test_scores_are_of_all_rows_and_of_either_kind():
    test = Data(np.zeros((4, 1)), np.array([0, 0, 1, 2]), ("a", "b", "c"))
    squares = np.array([[0, 1, 4], [1, 0, 1], [4, 1, 0]], float)
    score = structure._score_predictions(np.array([0, 1, 1, 0]), test, squares, [1])
    assert score == (5 / 4, 0.5, 1.0, 1 / 3)


def test_words_describe_the_measured_properties():
    ring = np.zeros((28, 28), np.float32)
    ring[6:22, 8:20] = 1
    ring[9:19, 11:17] = 0
    stroke = np.zeros((28, 28), np.float32)
    stroke[4:24, 13:15] = 1
    values = image_text_model.measure_properties(np.stack([ring.ravel(), stroke.ravel()]))
    holes, _, width, ink, _, symmetry, across, down = values.T
    assert holes.tolist() == [1, 0]
    assert width.tolist() == [11, 1]
    assert ink.tolist() == [ring.sum(), stroke.sum()]
    assert across.tolist() == [2, 1]
    assert down.tolist() == [2, 1]
    np.testing.assert_allclose(symmetry, 1, atol=1e-6)
    results = image_text_model.assign_words(values, image_text_model.find_thresholds(values))
    assert results[0, 0] != results[1, 0]
    bags = image_text_model.make_descriptions()
    assert bags.shape == (276, 34)
    assert not bags[:, 24:].any()  # none names a digit
