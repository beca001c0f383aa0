"""The family of labels with structure runs, and settles what the catalogue's rows claim."""

import numpy as np

from ilk.bench import _sentences, structure


def test_a_small_run_settles_loki_against_its_own_likeliest_class():
    told = structure.run(small=True)
    assert [t["metric"] for t in told["tables"]] == [
        "mean squared distance to the true class",
        "accuracy on classes never seen",
    ]
    unseen = {row["method"]: row["score"]["mean"] for row in told["tables"][1]["scores"]}
    assert unseen["likeliest class"] == 0  # argmax cannot answer what it never saw
    claims = {(c["row"], c["against"]) for t in told["tables"] for c in t["claims"]}
    assert ("loki-frechet-mean", "Loki, permuted metric") in claims


def test_kin_lie_nearer_than_strangers_in_the_tree():
    names = tuple(structure.TREE)
    places = structure.places(names).astype(float)
    far = lambda a, b: np.sum((places[names.index(a)] - places[names.index(b)]) ** 2)  # noqa: E731
    assert 0 < far("cat", "dog") < far("cat", "horse") < far("cat", "truck")


def test_words_say_what_was_measured():
    ring = np.zeros((28, 28), np.float32)
    ring[6:22, 8:20] = 1
    ring[9:19, 11:17] = 0
    stroke = np.zeros((28, 28), np.float32)
    stroke[4:24, 13:15] = 1
    values = _sentences.measured(np.stack([ring.ravel(), stroke.ravel()]))
    holes, _, width, ink, _, symmetry, across, down = values.T
    assert holes.tolist() == [1, 0]
    assert width.tolist() == [11, 1]
    assert ink.tolist() == [ring.sum(), stroke.sum()]
    assert across.tolist() == [2, 1]
    assert down.tolist() == [2, 1]
    np.testing.assert_allclose(symmetry, 1, atol=1e-6)
    told = _sentences.words(values, _sentences.cuts(values))
    assert told[0, 0] != told[1, 0]
    bags = _sentences.descriptions()
    assert bags.shape == (276, 34)
    assert not bags[:, 24:].any()  # none names a digit
