"""Zero-shot and its ensemble with Gaussians, against the paper's formulas written out."""

import numpy as np
import pytest

from ilk.core.data import Data
from ilk.core.metrics import softmax
from ilk.maths import folds
from ilk.methods.gda_clip import ALPHAS, GDAZeroShot
from ilk.methods.zero_shot import ZeroShot


def pictures(n=200, d=30, k=5, seed=0, noise=0.6, text=0.5):
    """Unit-ish features about class directions, and texts that point roughly there."""
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(99).standard_normal((k, d))
    mix = np.linalg.qr(np.random.default_rng(98).standard_normal((d, d)))[0] * np.geomspace(
        3, 0.1, d
    )
    y = rng.choice(k, n, p=np.arange(1, k + 1) / (k * (k + 1) / 2))
    x = 0.5 * means[y] + noise * rng.standard_normal((n, d)) @ mix
    hints = means + text * np.random.default_rng(97).standard_normal((k, d))
    return Data(
        x.astype(np.float32), y, tuple("abcde")[:k], class_embeddings=hints.astype(np.float32)
    )


def unit(x):
    x = np.asarray(x, float)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def gaussian_scores(train, new):
    """Equations 1 to 3, with an explicit inverse and explicit outer products."""
    u, (n, d) = unit(train.x), train.x.shape
    means = np.stack([u[train.y == c].mean(0) for c in range(train.k)])
    centred = u - means[train.y]
    s = np.cov(centred.T)
    p = d * np.linalg.inv((n - 1) * s + np.trace(s) * np.eye(d))
    return np.stack(
        [unit(new) @ p @ m - 0.5 * m @ p @ m + np.log(1 / train.k) for m in means],
        axis=1,
    )


def centred(scores):
    return scores - scores.mean(1, keepdims=True)


def test_zero_shot_is_a_hundred_cosines():
    data = pictures()
    np.testing.assert_allclose(
        ZeroShot().fit(data).logits(data.x),
        100 * unit(data.x) @ unit(data.class_embeddings).T,
        atol=1e-4,
    )
    np.testing.assert_allclose(
        ZeroShot(scale=7.0).fit(data).logits(data.x),
        0.07 * ZeroShot().fit(data).logits(data.x),
        atol=1e-5,
    )


@pytest.mark.parametrize("alpha", [0.0, 0.1, 10.0])
@pytest.mark.parametrize("n", [20, 200])  # fewer rows than features, and more
def test_scores_are_the_papers(alpha, n):
    train, test = pictures(n=n), pictures(seed=1)
    want = 100 * unit(test.x) @ unit(train.class_embeddings).T + alpha * gaussian_scores(
        train, test.x
    )
    got = GDAZeroShot(alpha=alpha).fit(train).logits(test.x)
    np.testing.assert_allclose(centred(got), centred(want), atol=1e-3 * np.abs(want).max())


def test_alpha_is_the_smallest_of_the_most_accurate_on_folds_of_the_training_rows():
    train = pictures(n=90, noise=1.0)
    part = folds.assign_folds(train.y, 5, 0)
    right = []
    for alpha in ALPHAS:
        hits = 0
        for f in range(5):
            model = GDAZeroShot(alpha=alpha).fit(train.take(part != f))
            held_out = train.take(part == f)
            hits += np.sum(model.logits(held_out.x).argmax(1) == held_out.y)
        right.append(hits)
    want = ALPHAS[int(np.argmax(right))]
    assert len(set(right)) > 2
    x = pictures(seed=1).x
    np.testing.assert_array_equal(
        GDAZeroShot().fit(train).logits(x), GDAZeroShot(alpha=want).fit(train).logits(x)
    )


def test_both_together_are_more_often_right_than_either():
    test = pictures(n=2000, seed=1, text=1.2, noise=1.2)
    hits = lambda logits: np.mean(logits.argmax(1) == test.y)  # noqa: E731
    both, one, other = [], [], []
    for seed in range(10):
        pool = pictures(n=300, seed=seed + 2, text=1.2, noise=1.2)
        train = pool.take(np.concatenate([np.flatnonzero(pool.y == c)[:3] for c in range(5)]))
        both.append(hits(GDAZeroShot().fit(train).logits(test.x)))
        one.append(hits(ZeroShot().fit(train).logits(test.x)))
        other.append(hits(gaussian_scores(train, test.x)))
    assert np.mean(both) > max(np.mean(one), np.mean(other)) + 0.01


def test_a_class_without_rows_is_predicted_from_its_text():
    train, test = pictures(n=300), pictures(n=1000, seed=1)
    base = train.take(train.y != 2)
    model = GDAZeroShot(alpha=0.1).fit(base)
    new = test.take(test.y == 2)
    assert np.mean(model.logits(new.x).argmax(1) == 2) > 0.5
    near = np.argsort(-(unit(base.class_embeddings[2:3]) @ unit(base.x).T)[0])[:64]
    mean = (unit(base.x)[near].sum(0) + 16 * unit(base.class_embeddings)[2]) / 80
    u, (n, d) = unit(base.x), base.x.shape
    means = np.stack([mean if c == 2 else u[base.y == c].mean(0) for c in range(5)])
    s = np.cov((u - means[base.y]).T)
    p = d * np.linalg.inv((n - 1) * s + np.trace(s) * np.eye(d))
    want = 100 * unit(new.x) @ unit(base.class_embeddings).T + 0.1 * (
        unit(new.x) @ p @ means.T - 0.5 * np.einsum("kd,de,ke->k", means, p, means)
    )
    np.testing.assert_allclose(centred(model.logits(new.x)), centred(want), atol=0.02)


def test_the_norm_of_a_row_does_not_matter():
    data = pictures()
    for method in (ZeroShot(), GDAZeroShot()):
        model = method.fit(data)
        np.testing.assert_allclose(
            softmax(model.logits(5 * data.x), axis=1),
            softmax(model.logits(data.x), axis=1),
            atol=1e-4,
        )


def test_invalid_fields_raise():
    with pytest.raises(ValueError, match="scale is 0"):
        ZeroShot(scale=0)
    with pytest.raises(ValueError, match="alpha is -1"):
        GDAZeroShot(alpha=-1)
    with pytest.raises(ValueError, match="folds is 1"):
        GDAZeroShot(folds=1)
