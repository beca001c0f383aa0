"""EM from zero-shot predictions, against the paper's sums written as loops."""

import numpy as np
import pytest

from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.core.metrics import softmax
from ilk.methods.gda_clip_unlabelled import ZeroShotEM
from ilk.methods.zero_shot import ZeroShot


def pictures(n=150, d=12, k=4, seed=0, labelled=0):
    """Features about class directions; texts that point only roughly there."""
    fixed = np.random.default_rng(99)
    means, off = fixed.standard_normal((k, d)), 1.4 * fixed.standard_normal((k, d))
    rng = np.random.default_rng(seed)
    truth = rng.choice(k, n, p=[0.4, 0.3, 0.2, 0.1])
    x = means[truth] + 0.5 * rng.standard_normal((n, d))
    y = np.where(np.arange(n) < labelled, truth, -1)
    data = Data(
        x.astype(np.float32), y, tuple("abcd"), class_embeddings=(means + off).astype(np.float32)
    )
    return data, truth


def unit(x):
    x = np.asarray(x, float)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def slow(data, alpha, rounds):
    """Memberships after `rounds`, every sum a loop and every inverse explicit."""
    u, t = unit(data.x), unit(data.class_embeddings)
    (n, d), k = u.shape, data.k
    text = 100 * u @ t.T
    scores = text
    for _ in range(rounds):
        g = softmax(scores, axis=1)
        for i in np.flatnonzero(data.y >= 0):
            g[i] = np.eye(k)[data.y[i]]
        means = [sum(g[i, c] * u[i] for i in range(n)) / g[:, c].sum() for c in range(k)]
        s = np.zeros((d, d))
        for c in range(k):
            part = sum(g[i, c] * np.outer(u[i] - means[c], u[i] - means[c]) for i in range(n))
            s += part / g[:, c].sum() / k
        p = d * np.linalg.inv((n - 1) * s + np.trace(s) * np.eye(d))
        own = np.stack([u @ p @ m - 0.5 * m @ p @ m - np.log(k) for m in means], axis=1)
        scores = text + alpha * own
    return scores


@pytest.mark.parametrize("labelled", [0, 20])
@pytest.mark.parametrize("rounds", [1, 3])
def test_scores_are_those_of_the_loops(labelled, rounds):
    data, _ = pictures(labelled=labelled)
    got = ZeroShotEM(alpha=5.0, n_iter=rounds).fit(data).logits(data.x)
    want = slow(data, 5.0, rounds)
    np.testing.assert_allclose(
        got - got.mean(1, keepdims=True), want - want.mean(1, keepdims=True), atol=0.02
    )


def test_unlabelled_rows_improve_zero_shot_on_held_out_rows():
    (train, _), (test, truth) = pictures(n=400), pictures(n=2000, seed=1)
    hits = lambda m: np.mean(m.fit(train).logits(test.x).argmax(1) == truth)  # noqa: E731
    assert hits(ZeroShotEM()) > hits(ZeroShot()) + 0.03
    assert hits(ZeroShotEM(n_iter=10)) > hits(ZeroShotEM(n_iter=1))


def test_without_weight_it_is_zero_shot():
    data, _ = pictures()
    np.testing.assert_allclose(
        ZeroShotEM(alpha=0).fit(data).logits(data.x), ZeroShot().fit(data).logits(data.x), atol=1e-3
    )


def test_no_rows_and_invalid_fields_raise():
    data, _ = pictures()
    with pytest.raises(InputError, match="there are none; try ZeroShot"):
        ZeroShotEM().fit(data.take([]))
    with pytest.raises(ValueError, match="n_iter is 0"):
        ZeroShotEM(n_iter=0)
    with pytest.raises(ValueError, match="alpha is -2"):
        ZeroShotEM(alpha=-2)
