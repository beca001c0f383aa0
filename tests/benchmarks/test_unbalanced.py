"""The benchmark of long tails runs small, and its figures are correct."""

import json

import numpy as np

from benchmarks import long_tails
from benchmarks.unbalanced import run as unbalanced


def test_small_run_has_every_method_in_every_table():
    results = json.loads(json.dumps(unbalanced.run(small=True)))
    assert results["left out"] == []
    assert [t["metric"].split()[0] for t in results["tables"]] == ["balanced", *["accuracy"] * 3]
    for table in results["tables"]:
        assert table["setting"] == "digits, 1:50"
        score = {s["method"]: s["score"]["mean"] for s in table["scores"]}
        assert len(score) == 11
        assert all(0 <= value <= 1 for value in score.values())
    whole = {s["method"]: s["score"]["mean"] for s in results["tables"][0]["scores"]}
    assert whole[unbalanced.PRIOR_CORRECTION] > whole[unbalanced.LOGISTIC]
    against = {c["baseline"] for c in results["tables"][0]["claims"] if c["method"] == "SBCL"}
    assert {"supervised contrastive", "random subclasses", "reweighted cross-entropy"} < against


def test_training_and_test_rows_are_disjoint():
    cut = long_tails.draw_split("digits", 50, 1)
    rows = {tuple(row) for row in cut.train.x}
    assert not rows & {tuple(row) for row in cut.test.x}
    counts = np.sort(cut.train.count_labels())
    assert 40 <= counts[-1] / counts[0] <= 60
    test = cut.test.count_labels()
    assert test.min() > 0.6 * test.max()


def test_rotation_keeps_distances_within_the_kept_axes():
    cut = long_tails.draw_split("digits", 10, 0)
    small = long_tails.reduce_features(cut, 0, width=64)
    full, kept = (c.test.x[:50].astype(float) for c in (cut, small))
    apart = lambda x: np.linalg.norm(x[:, None] - x[None], axis=2)  # noqa: E731
    np.testing.assert_allclose(apart(kept), apart(full), rtol=1e-3, atol=1e-3)
    spread = long_tails.reduce_features(cut, 0, width=32).train.x.std(0)
    assert spread.max() < 3 * spread.min()


def test_class_groups_follow_the_training_counts():
    y = np.repeat(np.arange(10), 4)
    rank = np.array([7, 2, 5, 0, 1, 3, 4, 6, 8, 9])
    answer = np.where(np.isin(y, [7, 2]), (y + 1) % 10, y)
    results = unbalanced.score_groups(y, answer, rank)
    assert results["many"] == results["medium"] == 1
    np.testing.assert_allclose([results["few"], results["all"]], [1 / 3, 0.8])
