"""The benchmark of long tails runs small, and what it says is what its rows say."""

import json

import numpy as np

from ilk.bench import _long_tails, unbalanced


def test_it_runs_small_and_tells_every_contender_in_every_table():
    told = json.loads(json.dumps(unbalanced.run(small=True)))
    assert told["left out"] == []
    assert [t["metric"].split()[0] for t in told["tables"]] == ["balanced", *["accuracy"] * 3]
    for table in told["tables"]:
        assert table["where"] == "digits, 1:50"
        score = {s["method"]: s["score"]["mean"] for s in table["scores"]}
        assert len(score) == 11
        assert all(0 <= value <= 1 for value in score.values())
    whole = {s["method"]: s["score"]["mean"] for s in told["tables"][0]["scores"]}
    assert whole[unbalanced.PRIOR] > whole[unbalanced.LOGISTIC]
    against = {c["against"] for c in told["tables"][0]["claims"] if c["method"] == "SBCL"}
    assert {"supervised contrastive", "random subclasses", "reweighted cross-entropy"} < against


def test_no_row_is_both_learnt_from_and_answered_for():
    cut = _long_tails.drawn("digits", 50, 1)
    rows = {tuple(row) for row in cut.train.x}
    assert not rows & {tuple(row) for row in cut.test.x}
    counts = np.sort(cut.train.counts())
    assert 40 <= counts[-1] / counts[0] <= 60
    test = cut.test.counts()
    assert test.min() > 0.6 * test.max()


def test_turning_keeps_distances_within_the_axes_that_stay():
    cut = _long_tails.drawn("digits", 10, 0)
    small = _long_tails.reduced(cut, 0, width=64)
    full, kept = (c.test.x[:50].astype(float) for c in (cut, small))
    apart = lambda x: np.linalg.norm(x[:, None] - x[None], axis=2)  # noqa: E731
    np.testing.assert_allclose(apart(kept), apart(full), rtol=1e-3, atol=1e-3)
    spread = _long_tails.reduced(cut, 0, width=32).train.x.std(0)
    assert spread.max() < 3 * spread.min()


def test_many_medium_and_few_are_told_by_the_training_rows():
    y = np.repeat(np.arange(10), 4)
    rank = np.array([7, 2, 5, 0, 1, 3, 4, 6, 8, 9])
    answer = np.where(np.isin(y, [7, 2]), (y + 1) % 10, y)
    told = unbalanced.judged(y, answer, rank)
    assert told["many"] == told["medium"] == 1
    np.testing.assert_allclose([told["few"], told["all"]], [1 / 3, 0.8])
