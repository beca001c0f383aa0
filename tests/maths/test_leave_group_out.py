"""Leave-group-out in closed form against fits without the group."""

from __future__ import annotations

import numpy as np
import pytest

from ilk.core.data import Data, one_hot
from ilk.core.linear_models import normalize_rows
from ilk.maths.inverse_temperature import fit_inverse_temperature
from ilk.maths.label_rules import fit_label_ridge
from ilk.maths.leave_group_out import (
    find_rows_with_other_groups,
    leave_group_out_residuals,
    list_members,
    score_without_group,
)
from ilk.methods.k_nearest import CANDIDATE_KS, KNearest
from ilk.methods.nearest_mean import NearestClassMean
from ilk.methods.ridge import ALPHAS, Ridge
from ilk.transduction.gaussian_em import UnitRows

RNG = np.random.default_rng(5)
NAMES = ("a", "b", "c")


def make_shots(n_groups: int = 18, n_shots: int = 5, d: int = 6, noise: float = 0.1) -> Data:
    """Near-identical rows in groups, one class per group, labels nearly at random."""
    y = np.arange(n_groups) % 3
    centres = RNG.normal(size=(n_groups, d)) + 0.5 * np.eye(3, d)[y]
    group = np.repeat(np.arange(n_groups), n_shots)
    x = centres[group] + noise * RNG.normal(size=(len(group), d))
    return Data(x.astype(np.float32), y[group], NAMES, group=group)


def fit_ridge(x: np.ndarray, targets: np.ndarray, alpha: float, w: np.ndarray) -> np.ndarray:
    """Return predictions at any rows as a function: weighted ridge with a free intercept."""
    mean, prior = w @ x / w.sum(), w @ targets / w.sum()
    z = x - mean
    gram = z.T @ (w[:, None] * z) + alpha * np.eye(x.shape[1])
    slope = np.linalg.solve(gram, z.T @ (w[:, None] * (targets - prior)))
    return lambda at: prior + (at - mean) @ slope


@pytest.mark.parametrize("n_shots", [3, 12])  # fewer and more rows than axes
def test_residuals_are_those_of_fits_without_the_group(n_shots: int) -> None:
    data = make_shots(6, n_shots, d=5)
    x, targets = data.x.astype(np.float64), one_hot(data.y, 3)
    w = RNG.integers(1, 4, len(x)).astype(float)
    mean, prior = w @ x / w.sum(), w @ targets / w.sum()
    values, basis = np.linalg.eigh((x - mean).T @ (w[:, None] * (x - mean)))
    for alpha in (0.3, 20.0):
        rows = np.flatnonzero(data.group == 2)
        whole = fit_ridge(x, targets, alpha, w)
        residual = (targets[rows] - whole(x[rows]))[None]
        found = leave_group_out_residuals(
            (x[rows] - mean) @ basis, residual, 1 / (values + alpha)[None], w.sum(), w[rows]
        )[0]
        others = data.group != 2
        without = fit_ridge(x[others], targets[others], alpha, w[others])
        np.testing.assert_allclose(found, targets[rows] - without(x[rows]), rtol=1e-6, atol=1e-8)
    assert prior.sum() == pytest.approx(1)


def test_ridge_takes_the_penalty_with_the_least_error_on_other_groups() -> None:
    data = make_shots()
    x, targets, ones = data.x.astype(np.float64), one_hot(data.y, 3), np.ones(len(data))
    scale = np.linalg.eigvalsh(np.cov(x.T, bias=True) * len(x)).mean()
    errors, predictions = [], []
    for alpha in scale * ALPHAS:
        out = np.zeros_like(targets)
        for g in np.unique(data.group):
            rest = data.group != g
            out[~rest] = fit_ridge(x[rest], targets[rest], alpha, ones[rest])(x[~rest])
        errors.append(np.sum((targets - out) ** 2))
        predictions.append(out)
    best = int(np.argmin(errors))
    t = fit_inverse_temperature(predictions[best], data.y)
    model = Ridge().fit(data)
    whole = fit_ridge(x, targets, scale * ALPHAS[best], ones)(x)
    np.testing.assert_allclose(model.logits(data.x), t * whole, rtol=1e-3, atol=1e-4)
    alone = Ridge().fit(Data(data.x, data.y, NAMES))  # rows are told apart by their own shots
    assert np.abs(alone.logits(data.x)).max() > 3 * np.abs(model.logits(data.x)).max()


def test_ridge_of_labels_takes_the_penalty_of_other_groups() -> None:
    data = make_shots()
    targets = one_hot(data.y, 3) > 0
    x = data.x.astype(np.float64)
    scale = np.linalg.eigvalsh(np.cov(x.T, bias=True) * len(x)).mean()
    errors = []
    for alpha in scale * ALPHAS:
        error = np.zeros(3)
        for g in np.unique(data.group):
            rest = data.group != g
            ones = np.ones(rest.sum())
            out = fit_ridge(x[rest], targets[rest].astype(float), alpha, ones)(x[~rest])
            error += np.sum((targets[~rest] - out) ** 2, axis=0)
        errors.append(error)
    rules = fit_label_ridge(data.x, targets, ALPHAS, data.group)
    for c, best in enumerate(np.argmin(errors, axis=0)):
        one = fit_label_ridge(data.x, targets[:, [c]], float(scale * ALPHAS[best]))
        np.testing.assert_allclose(rules.weight[c], one.weight[0], rtol=1e-6)


def test_means_leave_the_group_out() -> None:
    data = make_shots(8, 4)
    y = np.where(RNG.random(len(data)) < 0.3, (data.y + 1) % 3, data.y)  # groups of several classes
    x, w = data.x.astype(np.float64), RNG.integers(1, 3, len(data)).astype(float)
    means = np.stack([np.average(x[y == c], axis=0, weights=w[y == c]) for c in range(3)])
    counts = np.bincount(y, w)
    found = score_without_group(x, y, data.group, means, counts, weight=w)
    for g in range(8):
        rest, rows = data.group != g, data.group == g
        for c in range(3):
            mean = np.average(x[rest & (y == c)], axis=0, weights=w[rest & (y == c)])
            expected = x[rows] @ mean - 0.5 * mean @ mean
            np.testing.assert_allclose(found[rows, c], expected, atol=1e-10)


def test_rows_whose_class_has_other_groups() -> None:
    y, group = np.array([0, 0, 1, 1, 1, 2]), np.array([0, 0, 1, 1, 2, 2])
    assert find_rows_with_other_groups(y, group).tolist() == [2, 3, 4]
    weight = np.array([1.0, 1, 1, 1, 0, 1])
    assert find_rows_with_other_groups(y, group, weight).tolist() == [4]
    assert [m.tolist() for m in list_members(group)] == [[0, 1], [2, 3], [4, 5]]


def test_the_number_of_neighbours_is_best_on_other_groups() -> None:
    data = make_shots(18, 6)
    distance = np.linalg.norm(data.x[:, None] - data.x, axis=2).astype(np.float64)
    distance[data.group[:, None] == data.group] = np.inf
    nearest = np.argsort(distance, axis=1, kind="stable")
    model = KNearest().fit(data)
    n_correct = {}
    for k in [k for k in CANDIDATE_KS if k < len(data)]:
        vote = model.vote(data.y[nearest], k, np.ones(nearest.shape)).argmax(1)
        n_correct[k] = int(np.sum(vote == data.y))
    assert model.k == max(n_correct, key=lambda k: (n_correct[k], k))
    assert KNearest().fit(Data(data.x, data.y, NAMES)).k < model.k  # the own shots vote


def test_near_identical_rows_do_not_sharpen_the_scores() -> None:
    data, method = make_shots(9, 8), NearestClassMean()
    grouped, alone = method.fit(data), method.fit(Data(data.x, data.y, NAMES))
    u = grouped.normalize(data.x)
    scores = np.zeros((len(data), 3))
    for g in range(9):
        rest = data.group != g
        means = np.stack([u[rest & (data.y == c)].mean(0) for c in range(3)])
        scores[~rest] = u[~rest] @ means.T - 0.5 * np.sum(means**2, axis=1)
    expected = fit_inverse_temperature(scores, data.y)
    assert grouped.inverse_temperature == pytest.approx(expected, rel=1e-4)
    assert grouped.inverse_temperature < alone.inverse_temperature


def test_transduction_scores_rows_without_their_group() -> None:
    data = make_shots(6, 4)
    sphere = UnitRows.from_data(data, NearestClassMean())
    scores = sphere.score_left_out(normalize=True)
    rest = data.group != 1
    means = np.stack([sphere.labelled[rest & (data.y == c)].mean(0) for c in range(3)])
    expected = sphere.labelled[~rest] @ normalize_rows(means).T - 0.5
    np.testing.assert_allclose(scores[~rest], expected, atol=1e-5)
    assert sphere.project_to_span()[0].group is sphere.group
