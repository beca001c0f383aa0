"""The tabular recipe: which labels are hidden, what is chosen, and what its scores are."""

import numpy as np
import pytest

from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.discovery.practical_discovery import (
    DEFAULT_TRIAL,
    LATENT_DIMS,
    WEIGHTS,
    PracticalDiscovery,
    _hide_classes,
)
from ilk.maths.clustering_accuracy import clustering_accuracy
from ilk.maths.kmeans import fit_kmeans

QUICK = {"latent_dim": 4, "supervised_weight": 0.3, "steps": 40}


def world(new=2, known=3, rows=30, apart=8.0, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(known + new), rows)
    x = apart * rng.standard_normal((known + new, 6))[truth] + rng.standard_normal((len(truth), 6))
    y = np.where((truth < known) & (np.arange(len(truth)) % 2 == 0), truth, -1)
    return Data(x.astype(np.float32), y, tuple(f"kind {c}" for c in range(known))), truth


def test_new_classes_are_found():
    data, truth = world()
    answer = PracticalDiscovery(**QUICK).fit(data).logits(data.x).argmax(1)
    assert clustering_accuracy(truth, answer, 3).overall > 0.95
    assert PracticalDiscovery(n_new=4, **QUICK).fit(data).logits(data.x).shape[1] == 7


def test_each_class_is_hidden_once_and_half_of_the_others():
    y = np.array([0] * 8 + [1] * 6 + [2] * 4 + [3] * 2 + [-1] * 5)
    hidden = []
    for visible in _hide_classes(y, 0):
        assert (visible[y < 0] == -1).all()
        assert set(visible) == set(range(-1, int(visible.max()) + 1))
        for c in range(4):
            n_left = np.sum(visible[y == c] >= 0)
            assert n_left in (0, np.sum(y == c) // 2)
            hidden += [c] if not n_left else []
            assert len(set(visible[(y == c) & (visible >= 0)])) <= 1
    assert sorted(hidden) == [0, 1, 2, 3]
    assert not list(_hide_classes(np.zeros(5, int), 0))


def test_what_does_best_on_hidden_classes_is_chosen(monkeypatch):
    scores = {(latent, weight): latent * weight for latent in LATENT_DIMS for weight in WEIGHTS}
    calls = []

    def score(self, x, y, visible, trial):
        calls.append(trial)
        return scores[trial]

    monkeypatch.setattr(PracticalDiscovery, "score_hidden_classes", score)
    data, _ = world()
    assert PracticalDiscovery().choose_hyperparameters(data.x, data.y) == (
        max(LATENT_DIMS),
        max(WEIGHTS),
    )
    assert len(calls) == 3 * len(scores)
    assert PracticalDiscovery(latent_dim=8).choose_hyperparameters(data.x, data.y) == (
        8,
        max(WEIGHTS),
    )
    one = np.where(data.y == 0, 0, -1)
    assert (
        PracticalDiscovery().choose_hyperparameters(data.x, one) == DEFAULT_TRIAL
    )  # nothing can be hidden
    assert PracticalDiscovery(supervised_weight=0.2).choose_hyperparameters(data.x, one) == (
        DEFAULT_TRIAL[0],
        0.2,
    )


def test_hidden_classes_are_scored_by_their_labels_and_grouped_without():
    data, _ = world()
    method, visible = PracticalDiscovery(**QUICK), next(_hide_classes(data.y, 0))
    assert method.score_hidden_classes(data.x, data.y, visible, (4, 0.3)) > 0.9
    mixed, lost = data.y.copy(), (data.y >= 0) & (visible < 0)
    mixed[lost] = np.random.default_rng(0).permutation(mixed[lost])  # the same groups, other truth
    assert method.score_hidden_classes(data.x, mixed, visible, (4, 0.3)) < 0.7


def test_scores_are_squared_distances_in_the_latent_space():
    data, _ = world(apart=2.0)
    method = PracticalDiscovery(n_new=2, **QUICK)
    model = method.fit(data)
    x = ((data.x - model.centre) / model.scale).astype(np.float32)
    inner, threshold, outer = method.fit_encoder(x, data.y, (4, 0.3))
    z = np.maximum(x @ inner.T + threshold, 0) @ outer.T
    centres = fit_kmeans(z, data.y, 2, fix_known=True).centres
    twin = -0.5 * ((z[:, None].astype(float) - centres) ** 2).sum(2)
    twin -= twin[:, :1]
    logits = model.logits(data.x) - model.logits(data.x)[:, :1]
    factor = np.vdot(twin, logits) / np.vdot(twin, twin)
    assert factor > 0
    np.testing.assert_allclose(logits, factor * twin, atol=1e-3 * np.abs(logits).max())


def test_the_weight_trades_telling_classes_apart_for_rebuilding_rows():
    data, truth = world(apart=1.0)
    x = (data.x - data.x.mean(0)) / data.x.std(0)
    is_known, separation, explained = truth < 3, {}, {}
    for weight in (0.0, 1.0):
        inner, threshold, outer = PracticalDiscovery(steps=150).fit_encoder(x, data.y, (3, weight))
        z = np.maximum(x @ inner.T + threshold, 0) @ outer.T
        within = np.mean([z[truth == c].var(0).sum() for c in range(3)])
        separation[weight] = z[is_known].var(0).sum() / within
        design = np.column_stack([z, np.ones(len(z))])[~is_known]
        rest = x[~is_known] - design @ np.linalg.lstsq(design, x[~is_known], rcond=None)[0]
        explained[weight] = 1 - rest.var(0).sum() / x[~is_known].var(0).sum()
    assert separation[1.0] > 1.5 * separation[0.0]
    assert explained[0.0] > explained[1.0] + 0.05


def test_invalid_input_raises_input_error():
    data, _ = world()
    few = data.take(np.append(np.flatnonzero(data.y >= 0), [1]))
    with pytest.raises(InputError, match="2 new classes need as many unlabelled rows"):
        PracticalDiscovery(n_new=2, **QUICK).fit(few)
    for wrong in ({"n_new": -1}, {"latent_dim": 0}, {"steps": 0}):
        with pytest.raises(ValueError, match="they must be at least 0, 1 and 1"):
            PracticalDiscovery(**wrong)
    with pytest.raises(ValueError, match="supervised_weight is 1"):
        PracticalDiscovery(supervised_weight=1.5)
