"""Dirichlet distributions: their likelihood, their densities, and text-based predictions."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import psi
from scipy.stats import dirichlet

from helpers.few_shot_task import task
from ilk.core.errors import InputError
from ilk.core.metrics import log_softmax, softmax
from ilk.methods import em_dirichlet
from ilk.methods.em_dirichlet import EMDirichlet, fit_dirichlet

TRUE = np.array([[4.0, 1.5, 0.7], [0.5, 9.0, 3.0]])


def mean_logs(n, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([np.log(rng.dirichlet(a, n)).mean(0) for a in TRUE])


def test_maximum_likelihood_parameters_have_zero_gradient(monkeypatch):
    monkeypatch.setattr(em_dirichlet, "MAX_STEPS", 5000)
    monkeypatch.setattr(em_dirichlet, "TOLERANCE", 1e-12)
    s = mean_logs(500)
    a = fit_dirichlet(s, np.ones((2, 3)))
    np.testing.assert_allclose(psi(a) - psi(a.sum(1, keepdims=True)), s, atol=1e-6)


def test_the_true_distribution_is_recovered(monkeypatch):
    monkeypatch.setattr(em_dirichlet, "MAX_STEPS", 5000)
    a = fit_dirichlet(mean_logs(50_000), np.ones((2, 3)))
    np.testing.assert_allclose(a, TRUE, rtol=0.05)


def test_each_step_increases_the_likelihood(monkeypatch):
    monkeypatch.setattr(em_dirichlet, "MAX_STEPS", 1)
    s, a, last = mean_logs(500), np.ones((2, 3)), -np.inf
    rows = [np.random.default_rng(0).dirichlet(b, 500) for b in TRUE]
    s = np.stack([np.log(r).mean(0) for r in rows])
    for _ in range(40):
        a = fit_dirichlet(s, a)
        now = sum(dirichlet.logpdf(r.T, b).sum() for r, b in zip(rows, a, strict=True))
        assert now >= last - 1e-9
        last = now


def test_scores_are_log_densities():
    data, _ = task()
    model = EMDirichlet(balance=0.0, guard=False).fit(data)
    z = (data.x - model.centre).astype(float)
    z = softmax(z / np.linalg.norm(z, axis=1, keepdims=True) @ model.anchors.T, axis=1)
    alpha = model.weight.astype(float) + 1
    want = np.stack([dirichlet.logpdf((z / z.sum(1, keepdims=True)).T, a) for a in alpha], axis=1)
    np.testing.assert_allclose(model.logits(data.x), want, rtol=1e-3, atol=1e-3)


def test_the_balance_adds_the_log_shares_of_queries():
    data, truth = task(apart=3.0)
    model = EMDirichlet(guard=False).fit(data)
    alpha = model.weight.astype(float) + 1
    bare = np.array([dirichlet.logpdf(np.full(6, 1 / 6), a) for a in alpha])
    share = np.exp(model.bias - bare - np.log(6) * (alpha - 1).sum(1))
    np.testing.assert_allclose(share, np.bincount(truth, minlength=6) / len(truth), atol=0.05)


def test_without_unlabelled_rows_the_nearest_anchor_wins():
    data, _ = task()
    known = data.take_labelled()
    logits = EMDirichlet(guard=False).fit(known).logits(data.x)
    z = data.x - known.x.mean(0)
    u = known.x - known.x.mean(0)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    anchors = np.stack([u[known.y == c].mean(0) for c in range(6)])
    cosines = z @ (anchors / np.linalg.norm(anchors, axis=1, keepdims=True)).T
    np.testing.assert_array_equal(logits.argmax(1), cosines.argmax(1))
    np.testing.assert_allclose(logits, log_softmax(logits, axis=1), atol=1e-6)


def test_hard_memberships_are_whole():
    data, _ = task(apart=3.0)
    soft, hard = (EMDirichlet(hard_assignment=h, guard=False).fit(data) for h in (False, True))
    assert not np.array_equal(soft.weight, hard.weight)
    u = EMDirichlet(hard_assignment=True)._compute_memberships(
        np.random.default_rng(0).standard_normal((9, 4))
    )
    assert (u.sum(1) == 1).all()
    assert set(np.unique(u)) == {0, 1}


def by_text(seed=0):
    """Unit rows about their text, as an encoder of both gives them; queries of two of fifteen."""
    rng = np.random.default_rng(seed)
    data, truth = task(seed, d=16, k=15, shots=1)
    text = rng.standard_normal((15, 16))
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    whole = data.y.copy()
    whole[data.y < 0] = truth
    x = text[whole] + 0.35 * rng.standard_normal((len(whole), 16))
    return replace(data, x=x.astype(np.float32), class_embeddings=text.astype(np.float32)), truth


def test_text_needs_no_label_and_gains_by_queries():
    gain = []
    for seed in range(8):
        data, truth = by_text(seed)
        bare = data.take_unlabelled()
        zero = (bare.x @ data.class_embeddings.T).argmax(1)
        answer = EMDirichlet(use_class_embeddings=True).fit(bare).logits(bare.x).argmax(1)
        gain.append(np.mean(answer == truth) - np.mean(zero == truth))
    assert np.mean(gain) > 0.005


def test_missing_text_raises():
    data, _ = by_text()
    with pytest.raises(InputError, match="EMDirichlet needs a text embedding"):
        EMDirichlet(use_class_embeddings=True).fit(replace(data, class_embeddings=None))


@pytest.mark.parametrize("fields", [{"balance": -1.0}, {"n_iter": 0}])
def test_out_of_range_hyperparameters_raise(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        EMDirichlet(**fields)
