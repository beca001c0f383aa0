"""All labels at once give what one label after the other gives."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression as Reference
from sklearn.linear_model import RidgeCV

from ilk.core.data import Data
from ilk.core.linear_models import Linear
from ilk.maths.label_regressions import LabelRegressions, fit_label_regressions
from ilk.maths.label_rules import fit_label_ridge
from ilk.methods import parse
from ilk.multilabel.one_vs_rest import CLASSES, OneVsRest, fit_one_vs_rest


def draw_world(n, d, k=3, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.random((n, k)) < np.linspace(0.1, 0.4, k)
    x = 5 + targets @ rng.normal(size=(k, d)) * 0.5 + 2 * rng.normal(size=(n, d))
    return Data(x.astype(np.float32), np.full(n, -1), ()), targets


def fit_one_by_one(method, data, targets):
    return OneVsRest(
        tuple(method.fit(Data(data.x, column.astype(int), CLASSES)) for column in targets.T)
    )


@pytest.mark.parametrize("shape", [(200, 60), (60, 120)])
@pytest.mark.parametrize(
    "method",
    ["GDA", "GDA(shrink='oas')", "GDA(shrink=0.3, uniform=True)", "NearestClassMean", "NaiveBayes"],
)
def test_closed_forms_equal_one_fit_per_label(method, shape):
    data, targets = draw_world(*shape)
    together = fit_one_vs_rest(parse(method), data, targets).margins(data.x)
    apart = fit_one_by_one(parse(method), data, targets).margins(data.x)
    np.testing.assert_allclose(together, apart, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shape", [(200, 60), (60, 120)])
def test_ridge_of_all_labels_orders_rows_as_one_fit_per_label(shape):
    data, targets = draw_world(*shape)
    for method in (parse("Ridge"), parse("Ridge(alpha=3.0)")):
        together = fit_one_vs_rest(method, data, targets).margins(data.x)
        apart = fit_one_by_one(method, data, targets).margins(data.x)
        for a, b in zip(together.T, apart.T, strict=True):
            assert np.corrcoef(a, b)[0, 1] > 1 - 1e-6


def test_ridge_penalties_have_the_least_leave_one_out_error():
    data, targets = draw_world(80, 20)
    centred = data.x.astype(float) - data.x.mean(0)
    alphas = np.logspace(-2, 2, 9)
    scale = np.linalg.eigvalsh(centred.T @ centred).mean()
    rules = fit_label_ridge(data.x, targets, alphas)
    for c in range(3):
        y = targets[:, c].astype(float)
        reference = RidgeCV(alphas * scale).fit(centred, y)
        np.testing.assert_allclose(rules.weight[c] / 2, reference.coef_, rtol=2e-3, atol=1e-6)


def test_regressions_equal_scikit_learns():
    data, targets = draw_world(150, 10)
    rules = fit_label_regressions(data, targets, C=0.5)
    x = data.x.astype(float) - rules.centre
    for c in range(3):
        reference = Reference(C=1.0, tol=1e-10, max_iter=10_000).fit(
            x, targets[:, c]
        )  # C = 2 x 0.5
        np.testing.assert_allclose(rules.weight[c], reference.coef_[0], atol=2e-3)
        assert rules.bias[c] == pytest.approx(reference.intercept_[0], abs=2e-3)


def test_the_chosen_penalty_is_near_the_best_held_out_loss():
    data, targets = draw_world(300, 40)
    test, truth = draw_world(2_000, 40, seed=0)[0].x[300:], draw_world(2_000, 40, seed=0)[1][300:]
    train = Data(draw_world(2_000, 40, seed=0)[0].x[:300], data.y, ())
    targets = draw_world(2_000, 40, seed=0)[1][:300]

    def loss(C):
        rules = fit_label_regressions(train, targets, C)
        z = (test - rules.centre) @ rules.weight.T + rules.bias
        return float(np.mean(np.logaddexp(0, z) - truth * z))

    best = min(loss(10.0**e) for e in np.arange(-4, 2, 0.5))
    assert loss(None) < 1.05 * best


def test_held_out_loss_and_gradient_equal_a_direct_computation():
    rng = np.random.default_rng(0)
    scores = np.hstack([rng.normal(size=(30, 3)), np.ones((30, 1))]).astype(np.float32)
    targets, train = rng.random((30, 2)) < 0.4, rng.random((2, 30)) < 0.7
    problem = LabelRegressions(scores, targets, train)
    theta, penalty = rng.normal(size=(1, 4)), np.array([1.0, 3.0])

    def value_at(point):
        z, t = scores @ point[0], targets[:, 1]
        losses = np.logaddexp(0, z) - t * z
        return losses[train[0]].sum() + 0.75 * np.sum(point[0, :3] ** 2), losses[~train[0]].sum()

    value, gradient, held_out = problem._evaluate(theta, [(0, 1)], penalty)
    assert (value[0], held_out[0]) == pytest.approx(value_at(theta), rel=1e-5)
    for i in range(4):
        step = np.zeros((1, 4))
        step[0, i] = 1e-4
        numeric = (value_at(theta + step)[0] - value_at(theta - step)[0]) / 2e-4
        assert gradient[0, i] == pytest.approx(numeric, rel=1e-3, abs=1e-4)


def test_rules_become_models_of_two_classes():
    data, targets = draw_world(50, 8)
    [model, *_] = fit_one_vs_rest(parse("GDA"), data, targets).models
    assert isinstance(model, Linear)
    assert model.logits(data.x).shape == (50, 2)
