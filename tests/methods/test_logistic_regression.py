"""Logistic regression against scikit-learn run to the end, and the path against its grid."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression as Scikit

from ilk.core.data import Data
from ilk.core.metrics import log_loss, log_softmax, softmax
from ilk.maths import logistic_regression as module
from ilk.maths.lbfgs import minimize_lbfgs
from ilk.methods.logistic_regression import LogisticRegression


def digits(n=500, scale=1.0):
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(4).permutation(len(y))  # rows are ordered by writer
    x, y = x[order], y[order]
    data = Data((scale * x).astype(np.float32), y, tuple("0123456789"))
    return data.take(np.arange(n)), data.take(np.arange(n, 1797))


def theirs(train, C):
    x = train.x.astype(float)
    return Scikit(C=C, tol=1e-9, max_iter=20000).fit(x, train.y)


@pytest.mark.parametrize("C", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("n", [40, 500])  # fewer rows than features, and more
def test_log_probabilities_are_scikit_learns(C, n):
    train, test = digits(n)
    got = log_softmax(LogisticRegression(C=C).fit(train).logits(test.x), axis=1)
    want = theirs(train, C).predict_log_proba(test.x.astype(float))
    np.testing.assert_allclose(got, want, atol=5e-3 * np.abs(want).mean())


def test_two_classes_are_scikit_learns_at_twice_the_strength():
    train, test = digits()
    pair = lambda d: (lambda r: Data(r.x, r.y == 7, ("1", "7")))(d.take_classes(["1", "7"]))  # noqa: E731
    got = log_softmax(LogisticRegression(C=0.01).fit(pair(train)).logits(pair(test).x), axis=1)
    want = theirs(pair(train), 0.02).predict_log_proba(pair(test).x.astype(float))
    np.testing.assert_allclose(got, want, atol=0.01)


def test_the_gradient_of_the_objective_is_zero_at_the_answer():
    train, _ = digits()
    model = LogisticRegression(C=0.1).fit(train)
    p = softmax(model.logits(train.x), axis=1)
    p[np.arange(len(train)), train.y] -= 1
    np.testing.assert_allclose(p.sum(0), 0, atol=0.01)
    slope = p.T @ train.x.astype(float) + model.weight / 0.1
    assert np.abs(slope).max() < 1e-3 * np.abs(train.x).sum(0).max()


def test_the_selected_strength_is_as_good_as_any_on_held_out_rows():
    train, test = digits(900)
    loss = lambda m: log_loss(test.y, softmax(m.fit(train).logits(test.x), axis=1))  # noqa: E731
    grid = [loss(LogisticRegression(C=float(c))) for c in np.logspace(-4, 1, 11)]
    assert loss(LogisticRegression()) < 1.05 * min(grid)
    assert min(grid) < 0.8 * min(grid[0], grid[-1])


def test_the_unit_of_the_features_does_not_matter():
    (train, test), (tiny, _) = digits(), digits(scale=1e-3)
    np.testing.assert_allclose(
        softmax(LogisticRegression().fit(train).logits(test.x), axis=1),
        softmax(LogisticRegression().fit(tiny).logits(1e-3 * test.x), axis=1),
        atol=2e-3,
    )


def test_uninformative_labels_give_the_class_shares():
    rng = np.random.default_rng(0)
    y = rng.choice(3, 400, p=[0.6, 0.3, 0.1])
    data = Data(rng.standard_normal((400, 20)).astype(np.float32), y, ("a", "b", "c"))
    probs = softmax(LogisticRegression().fit(data).logits(data.x), axis=1)
    np.testing.assert_allclose(probs, np.tile(data.count_labels() / 400, (400, 1)), atol=0.1)


def test_separable_rows_get_a_finite_answer():
    x = np.r_[np.full((20, 2), -1), np.full((20, 2), 1)].astype(np.float32)
    x += 0.01 * np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)
    data = Data(x, np.repeat([0, 1], 20), ("a", "b"))
    for method in (LogisticRegression(), LogisticRegression(C=1e6)):
        p = softmax(method.fit(data).logits(x), axis=1)
        assert (p[np.arange(40), data.y] > 0.999).all()


def test_a_fold_without_a_class_does_not_count_that_class():
    rng = np.random.default_rng(0)
    y = np.r_[np.repeat([0, 1], 30), 2]  # the only row of class 2 is held out once
    x = (3 * np.eye(3, 5)[y] + rng.standard_normal((61, 5))).astype(np.float32)
    logits = LogisticRegression().fit(Data(x, y, ("a", "b", "c"))).logits(x)
    assert np.isfinite(logits).all()
    assert logits[-1].argmax() == 2


def test_the_path_goes_from_strong_to_weak_and_stops_after_the_minimum(monkeypatch):
    calls = []
    solve = module.SoftmaxRegressions.solve

    def watched(self, thetas, penalty, *rest):
        calls.append((len(thetas), penalty))
        return solve(self, thetas, penalty, *rest)

    monkeypatch.setattr(module.SoftmaxRegressions, "solve", watched)
    LogisticRegression().fit(digits()[0])
    path = [penalty for fits, penalty in calls if fits == 5]
    assert path == sorted(path, reverse=True)
    assert 5 < len(path) < len(module.PENALTY_PATH)
    assert calls[-1][0] == 1
    assert path[-1] < calls[-1][1] < path[0]


def test_the_curvature_met_on_the_way_saves_steps_and_leads_to_the_same_minimum(monkeypatch):
    train, _ = digits(300)
    scores = np.hstack([(train.x - train.x.mean(0)) / 4, np.ones((300, 1), np.float32)])
    masks = np.arange(300) % 3 != np.arange(3)[:, None]
    problem = module.SoftmaxRegressions.from_masks(scores, train.y, masks)
    counts = {}
    for history in (None, module.CurvatureHistory()):
        evaluations, evaluate = [], module.SoftmaxRegressions.evaluate

        def count(self, thetas, *rest, seen=evaluations, evaluate=evaluate):
            seen.append(len(thetas))
            return evaluate(self, thetas, *rest)

        with monkeypatch.context() as patch:
            patch.setattr(module.SoftmaxRegressions, "evaluate", count)
            thetas = problem.init_parameters()
            for penalty in (100.0, 30.0, 10.0, 3.0, 1.0):
                thetas, loss = problem.solve(thetas, penalty, 1e-5, history)
        counts[history is None] = sum(evaluations), loss, thetas
    assert counts[False][0] < 0.8 * counts[True][0]
    assert counts[False][1] == pytest.approx(counts[True][1], rel=2e-3)
    weights = (counts[is_plain][2][:, :, :-1] for is_plain in (False, True))
    np.testing.assert_allclose(*weights, atol=0.02)


@pytest.mark.parametrize("C", [0.01, None])
def test_scores_that_are_not_stored_give_the_same_model(monkeypatch, C):
    train, test = digits()
    train = replace(train, weight=np.random.default_rng(0).integers(1, 4, len(train)))
    want = LogisticRegression(C=C).fit(train).logits(test.x)
    monkeypatch.setattr(module, "MAX_SCORES", 0)
    got = LogisticRegression(C=C).fit(train).logits(test.x)
    np.testing.assert_allclose(got, want, atol=0.02 * np.abs(want).mean())


def test_invalid_fields_raise():
    for bad in ({"C": 0}, {"C": -1.0}, {"C": float("inf")}, {"folds": 1}):
        with pytest.raises(ValueError, match=r"it must be above 0|at least 2"):
            LogisticRegression(**bad)


def test_lbfgs_minimizes_a_curved_valley_and_a_quadratic():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((12, 12))
    h, low = root @ root.T + 0.1 * np.eye(12), rng.standard_normal(12)

    def quadratic(x):
        return 1.0 + 0.5 * (x - low) @ h @ (x - low), h @ (x - low)

    def valley(x):
        z = h @ (x - low)
        return np.sum(np.sqrt(1 + z * z)), h @ (z / np.sqrt(1 + z * z))

    for f in (quadratic, valley):
        walk = minimize_lbfgs(np.zeros(12), np.diag(h) + 0.0, 1e-13)
        point, n_calls = next(walk), 0
        while True:
            try:
                point, n_calls = walk.send(f(point)), n_calls + 1
            except StopIteration as done:
                point = done.value
                break
        np.testing.assert_allclose(point, low, atol=2e-3)
        assert n_calls < 500
