"""Scores of encoders against closed forms, brute force and second derivations."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import kendalltau, multivariate_normal

from ilk import ranking
from ilk.core.data import one_hot
from ilk.core.errors import InputError
from ilk.core.metrics import softmax
from ilk.ranking import h_score, leep, logme, nce, rank_correlation, reduce_and_scale, tmi
from ilk.ranking.rank import score_encoder


def classes(seed=0, n=90, d=5, k=3, apart=2.0):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % k)
    means = apart * rng.standard_normal((k, d))
    return means[y] + rng.standard_normal((n, d)) * np.linspace(0.5, 1.5, d), y


def test_every_file_is_found_and_says_what_it_reads():
    found = ranking.list_scores()
    assert set(found) >= {"H-score", "LEEP", "LogME", "NCE", "TMI"}
    assert {name for name, s in found.items() if s.INPUT_KIND == "source"} >= {"LEEP", "NCE"}
    x, y = classes()
    for score in found.values():
        read = x if score.INPUT_KIND == "features" else softmax(x, axis=1)
        assert np.isfinite(score.score(read, y))


# TMI


def test_entropy_of_a_uniform_cube_and_of_a_gaussian():
    rng = np.random.default_rng(0)
    sides = np.array([0.5, 3.0])
    cube = rng.random((2000, 2)) * sides
    assert tmi.knn_entropy(cube, 3, 1e-12) == pytest.approx(np.log(sides).sum(), abs=0.08)
    mix = np.array([[1.0, 0.3, 0], [0, 0.5, 0.2], [0, 0, 2.0]])
    rows = rng.standard_normal((2000, 3)) @ mix
    truth = multivariate_normal(np.zeros(3), mix.T @ mix).entropy()
    for k in (1, 3, 10):
        assert tmi.knn_entropy(rows, k, 1e-12) == pytest.approx(truth, abs=0.1)


def test_entropy_is_the_loop_over_rows():
    from scipy.special import digamma

    z, k = classes(n=40, d=4)[0], 3
    total = 0.0
    for i in range(len(z)):
        apart = sorted(np.abs(z[i] - z[j]).max() for j in range(len(z)) if j != i)
        total += np.log(2 * apart[k - 1])
    truth = digamma(40) - digamma(k) + 4 * total / 40
    assert tmi.knn_entropy(z, k, 1e-12) == pytest.approx(truth, rel=1e-12)


def test_many_rows_give_the_same_in_parts(monkeypatch):
    z = classes(n=60)[0]
    whole = tmi.knn_entropy(z, 3, 1e-12)
    monkeypatch.setattr(tmi, "MAX_DISTANCES", 200)
    assert tmi.knn_entropy(z, 3, 1e-12) == whole


def test_tmi_is_the_mean_over_classes_by_their_shares():
    x, y = classes(n=100)
    y = np.where(y == 2, 1, y)  # unequal classes
    each = [tmi.knn_entropy(x[y == c], 3, 1e-12) for c in (0, 1)]
    assert tmi.score(x, y) == pytest.approx(np.average(each, weights=np.bincount(y)), rel=1e-9)


def test_tmi_hears_where_the_middle_lies_and_how_far_classes_are_apart_not_at_all():
    x, y = classes()
    apart = x + 50.0 * one_hot(y, 3) @ np.ones((3, 5)) * (y[:, None] + 1)
    assert tmi.score(apart, y) == pytest.approx(tmi.score(x, y), rel=1e-9)
    assert tmi.score(3 * x, y) == pytest.approx(tmi.score(x, y) + 5 * np.log(3), rel=1e-9)
    wider = np.where(y[:, None] == 0, 2 * x, x)
    assert tmi.score(wider, y) > tmi.score(x, y)


def test_the_floor_of_the_authors_code_leaves_nothing_but_the_width():
    from scipy.special import digamma

    x, y = classes(apart=1.0)
    floored = digamma(30) - digamma(3) + 5 * np.log(2)
    assert tmi.score(0.01 * x, y, floor=1.0) == pytest.approx(floored)
    assert tmi.score(0.002 * x, y, floor=1.0) == pytest.approx(floored)
    assert tmi.score(0.01 * x, y) != pytest.approx(tmi.score(0.002 * x, y))


def test_a_common_width_takes_scale_and_idle_features_away():
    x, y = classes(d=6)
    wide = (
        np.column_stack([x, np.zeros((len(x), 40))])
        @ np.linalg.qr(np.random.default_rng(5).standard_normal((46, 46)))[0]
    )
    narrow = tmi.score(x, y, width=4)
    assert tmi.score(7 * wide + 3, y, width=4) == pytest.approx(narrow, rel=0.05)
    assert tmi.score(9 * x - 4, y, width=4) == pytest.approx(narrow, rel=1e-9)
    z = reduce_and_scale(x, 4)
    assert z.shape == (90, 4)
    assert np.mean(z**2) == pytest.approx(1)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-9)
    with pytest.raises(InputError, match="fewer than width=7"):
        reduce_and_scale(x, 7)


def test_rows_that_coincide_and_classes_of_one_row_are_survived():
    x, y = classes(n=30)
    twice = np.concatenate([x, x, x, x])
    assert np.isfinite(tmi.score(twice, np.tile(y, 4)))
    assert np.isfinite(tmi.score(np.ones((6, 2)), [0, 0, 0, 1, 1, 1]))
    lone = tmi.score(np.vstack([x, x[:1] + 99]), np.append(y, 3))
    assert lone == pytest.approx(tmi.score(x, y), rel=1e-6)
    assert np.isfinite(tmi.score(x[:4], [0, 0, 1, 1]))  # fewer rows a class than neighbours
    with pytest.raises(InputError, match="no class has two"):
        tmi.score(x[:3], [0, 1, 2])
    with pytest.raises(InputError, match="neighbours is 0"):
        tmi.score(x, y, neighbours=0)


# LogME


def log_evidence(f, t, a, b):
    """`ln N(t; 0, I / b + F F' / a)` with the determinant and the quadratic form written out."""
    cov = np.eye(len(f)) / b + f @ f.T / a
    return multivariate_normal(np.zeros(len(f)), cov).logpdf(t)


@pytest.mark.parametrize(("n", "d"), [(40, 5), (25, 60)])
def test_logme_is_the_largest_evidence_of_a_brute_force_grid(n, d):
    rng = np.random.default_rng(3)
    f = rng.standard_normal((n, d)) + 0.5
    t = one_hot((f[:, 0] + 0.7 * rng.standard_normal(n) > 0.5).astype(int), 2)
    found = logme.compute_log_evidence(f, t)
    for c in range(2):
        spots = [(a, b) for a in range(-1, 8, 2) for b in range(-1, 6)]
        grid = {spot: log_evidence(f, t[:, c], *np.exp(spot)) for spot in spots}
        assert max(grid.values()) <= found[c] + 1e-6
        best = minimize(
            lambda spot, c=c: -log_evidence(f, t[:, c], *np.exp(spot)),
            max(grid, key=grid.get),
            method="Nelder-Mead",
        )
        assert found[c] == pytest.approx(-best.fun, abs=1e-4)


def test_logme_is_the_evidence_at_its_own_fixed_point():
    f, y = classes(n=50, d=4)
    t = one_hot(y, 3)[:, :1]
    s = np.linalg.svd(f, compute_uv=False) ** 2
    a = b = 1.0
    for _ in range(500):
        m = b * np.linalg.solve(a * np.eye(4) + b * f.T @ f, f.T @ t[:, 0])
        g = np.sum(b * s / (a + b * s))
        a, b = g / (m @ m), (50 - g) / np.sum((f @ m - t[:, 0]) ** 2)
    assert logme.compute_log_evidence(f, t)[0] == pytest.approx(
        log_evidence(f, t[:, 0], a, b), rel=1e-8
    )
    each = logme.compute_log_evidence(f, one_hot(y, 3))
    assert logme.score(f, y) == pytest.approx(each.mean() / 50)


def test_logme_hears_nothing_of_a_turn_of_idle_features_or_of_a_scale():
    f, y = classes(n=60, d=6)
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((6, 6)))[0]
    plain = logme.score(f, y)
    assert logme.score(f @ turn, y) == pytest.approx(plain, rel=1e-8)
    assert logme.score(np.column_stack([f, np.zeros((60, 80))]), y) == pytest.approx(plain)
    assert logme.score(40 * f, y) == pytest.approx(plain, rel=1e-5)
    mixed = np.random.default_rng(2).permutation(y)
    assert logme.score(f, mixed) < plain


def test_logme_stays_finite_where_features_fit_every_label():
    f = np.random.default_rng(0).standard_normal((12, 40))
    assert np.isfinite(logme.score(f, np.arange(12) % 3))
    assert np.isfinite(logme.score(np.eye(3)[np.arange(12) % 3], np.arange(12) % 3))
    assert np.isfinite(logme.score(np.zeros((6, 2)), [0, 1] * 3))


# H-score


def test_h_score_is_the_formula_in_numpy():
    x, y = classes(n=80, d=6)
    y = np.where(y == 2, 1, y)
    means = np.stack([x[y == c].mean(0) for c in range(2)])[y]
    formula = np.trace(np.linalg.pinv(np.cov(x.T)) @ np.cov(means.T))
    assert h_score.score(x, y, shrink=False) == pytest.approx(formula, rel=1e-9)
    from sklearn.covariance import LedoitWolf

    found = LedoitWolf().fit(x)
    between = np.cov(means.T, bias=True)
    shrunk = (1 - found.shrinkage_) * np.trace(np.linalg.inv(found.covariance_) @ between)
    assert h_score.score(x, y) == pytest.approx(shrunk, rel=1e-6)


def test_h_score_without_shrinkage_believes_any_label_where_features_are_many():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 60)), np.arange(40) % 4
    assert h_score.score(x, y, shrink=False) == pytest.approx(3, rel=1e-6)
    assert h_score.score(x, y) < 0.5
    assert 0 <= h_score.score(np.ones((8, 3)), np.arange(8) % 2) < 1e-9


# LEEP and NCE


def test_leep_and_nce_are_the_loops_of_their_definitions():
    rng = np.random.default_rng(0)
    p, y = softmax(2 * rng.standard_normal((50, 4)), axis=1), rng.integers(0, 3, 50)
    z = p.argmax(1)
    joint = np.zeros((3, 4))
    hard = np.zeros((3, 4))
    for i in range(50):
        hard[y[i], z[i]] += 1 / 50
        for s in range(4):
            joint[y[i], s] += p[i, s] / 50
    leeps = [
        np.log(sum(joint[y[i], s] / joint[:, s].sum() * p[i, s] for s in range(4)))
        for i in range(50)
    ]
    assert leep.score(p, y) == pytest.approx(np.mean(leeps), rel=1e-12)
    nces = sum(
        hard[c, s] * np.log(hard[c, s] / hard[:, s].sum())
        for c in range(3)
        for s in range(4)
        if hard[c, s]
    )
    assert nce.score(p, y) == pytest.approx(nces, rel=1e-12)


def test_a_source_that_knows_the_label_scores_0_and_one_that_knows_nothing_the_entropy():
    y = np.repeat([0, 1, 2], [10, 20, 30])
    share = np.bincount(y) / 60
    knows = np.eye(4)[[2, 0, 3]][y]
    blank = np.full((60, 4), 0.25)
    for score in (leep.score, nce.score):
        assert score(knows, y) == pytest.approx(0, abs=1e-12)
        assert score(blank, y) == pytest.approx(np.sum(share * np.log(share)))


def test_what_is_no_probability_is_refused():
    x, y = classes()
    for p in (x, np.full((90, 4), 0.3)):
        with pytest.raises(InputError, match="not probabilities"):
            leep.score(p, y)


@pytest.mark.parametrize("name", ["LogME", "H-score"])
def test_features_that_tell_classes_apart_score_higher(name):
    score = ranking.list_scores()[name].score
    good, y = classes(apart=3.0)
    poor, _ = classes(apart=0.3)
    assert score(good, y) > score(poor, y)


def test_agreement_is_kendalls_tau_by_pairs():
    a, b = [0.1, 0.4, 0.3, 0.9, 0.2], [0.5, 0.6, 0.7, 0.8, 0.1]
    pairs = [(i, j) for i in range(5) for j in range(i)]
    tau = np.mean([np.sign((a[i] - a[j]) * (b[i] - b[j])) for i, j in pairs])
    assert rank_correlation(a, b) == pytest.approx(tau) == pytest.approx(kendalltau(a, b).statistic)
    assert rank_correlation(a[:2], b[:2]) is None
    assert rank_correlation([1, 1, 1], [0.1, 0.2, 0.3]) is None


def test_a_standing_holds_every_score_and_none_without_a_source():
    x, y = classes()
    one = score_encoder("some/encoder", x, y, None)
    assert one.n_features == 5
    assert set(one.scores) == set(ranking.list_scores())
    assert one.scores["TMI"] == tmi.score(x, y)
    assert one.scores["LogME"] == logme.score(x, y)
    assert one.scores["LEEP"] is None is one.scores["NCE"]
    assert set(one.seconds) == set(one.scores)
    p = softmax(x, axis=1)
    assert score_encoder("e", x, y, p).scores["LEEP"] == leep.score(p, y)


def test_the_source_head_is_timms_own_classifier(tmp_path):
    import torch

    from helpers.noise_images import noise
    from helpers.tiny_checkpoints import save_timm
    from ilk.encoders import resolve_encoder
    from ilk.hub.torchvision_ops import declare_missing_ops
    from ilk.ranking.source_probabilities import predict_source_proba

    declare_missing_ops()
    import timm

    folder = save_timm(tmp_path / "network", "test_efficientnet")
    encoder = resolve_encoder(f"local-dir:{folder}")
    pixels = np.stack([encoder.prepare(noise(160, 160, i)) for i in range(3)])
    p = predict_source_proba(encoder, encoder.embed(pixels))
    whole = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    seen = encoder.preprocess
    mean, std = (torch.tensor(v)[:, None, None] for v in (seen.mean, seen.std))
    with torch.inference_mode():
        logits = whole((torch.from_numpy(pixels) / 255 - mean) / std).numpy()
    np.testing.assert_allclose(p, softmax(logits, axis=1), rtol=1e-4)
    bare = save_timm(tmp_path / "bare", "test_efficientnet", classes=0)
    encoder = resolve_encoder(f"local-dir:{bare}")
    assert predict_source_proba(encoder, encoder.embed(pixels)) is None
    pixel = resolve_encoder("pixels/8x8x1")
    assert predict_source_proba(pixel, np.zeros((2, 64), np.float32)) is None
