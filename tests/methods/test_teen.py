"""Calibrated prototypes against the paper's sums, row by row."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from ilk.core.data import Data
from ilk.core.linear_models import normalize_rows
from ilk.methods.teen import TEEN, _iterate_cosines, calibrate_prototypes
from ilk.protocols import few_shot_increments

NAMES = tuple("abcdefgh")


def draw(n=320, d=10, seed=0, noise=1.0, share=0.0):
    """Classes about means; those from the fifth on lie near a mix of the first four's."""
    rng, world = np.random.default_rng(seed), np.random.default_rng(7)
    means = 2 * world.standard_normal((8, d))
    near = world.dirichlet([0.3] * 4, 4) @ means[:4]
    means[4:] = (1 - share) * means[4:] + share * near
    y = rng.permutation(np.arange(n) % 8)
    return Data((means[y] + noise * rng.standard_normal((n, d))).astype(np.float32), y, NAMES)


def get_prototypes(model):
    return model.compute_prototypes()


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("centred", [True, False])
def test_scores_are_cosines_with_what_the_paper_writes(centred):
    data, alpha, tau = draw(), 0.3, 4.0
    base, few = data.take_classes("abcde"), data.take_classes("fgh")
    method = TEEN(alpha=alpha, tau=tau, centre_features=centred)
    model = method.update(method.fit(base), few)
    off = base.x.mean(0) if centred else np.zeros(10)
    means = [data.x[data.y == c].mean(0) - off for c in range(8)]
    want = []
    for c in range(8):
        p = means[c] / np.linalg.norm(means[c])
        if c >= 5:
            w = np.exp([tau * cosine(means[c], means[b]) for b in range(5)])
            mix = sum(w[b] / w.sum() * means[b] / np.linalg.norm(means[b]) for b in range(5))
            p = (1 - alpha) * p + alpha * mix / np.linalg.norm(mix)
        want.append(p)
    scores = np.array([[cosine(row - off, p) for p in want] for row in data.x])
    np.testing.assert_allclose(
        model.logits(data.x), model.inverse_temperature * scores, rtol=1e-4, atol=1e-4
    )


def test_base_prototypes_stay_and_only_base_classes_calibrate():
    data = draw()
    method = TEEN(alpha=0.5, tau=8.0)
    first = method.fit(data.take_classes("abcd"))
    whole = method.update(first, data.take_classes("efgh"))
    one_by_one = first
    for name in "hgfe":
        one_by_one = method.update(one_by_one, data.take_classes(name))
    np.testing.assert_allclose(get_prototypes(one_by_one), get_prototypes(whole), atol=1e-6)
    np.testing.assert_array_equal(get_prototypes(whole)[:4], get_prototypes(first)[:4])


def test_without_alpha_it_is_the_plain_prototype_and_with_all_of_it_the_mix():
    data = draw()
    unit, base = normalize_rows(draw(seed=1).x[:3]), normalize_rows(data.x[:5])
    np.testing.assert_allclose(calibrate_prototypes(unit, base, 0.0, 4.0), unit)
    even = normalize_rows(np.tile(base.mean(0), (3, 1)))
    np.testing.assert_allclose(calibrate_prototypes(unit, base, 1.0, 0.0), even)
    nearest = base[(unit @ base.T).argmax(1)]
    np.testing.assert_allclose(calibrate_prototypes(unit, base, 1.0, 1e4), nearest, atol=1e-6)


def test_cosines_of_the_whole_path_are_those_of_calibrated_prototypes():
    data = draw()
    u, unit = normalize_rows(data.x[50:90]), normalize_rows(data.x[:7])
    pairs = [(a, t) for t in (1.0, 16.0) for a in (0.0, 0.4, 0.9)]
    for (alpha, tau), got in zip(pairs, _iterate_cosines(u, unit, 3, pairs), strict=True):
        both = np.concatenate([calibrate_prototypes(unit[:3], unit[3:], alpha, tau), unit[3:]])
        np.testing.assert_allclose(got, u @ both.T, atol=1e-12)


def harmonic(model, data):
    answer, new = model.logits(data.x).argmax(1), data.y >= 4
    right = answer == data.y
    return 2 / (1 / right[new].mean() + 1 / right[~new].mean())


def test_new_classes_near_the_base_gain_and_a_shuffled_mix_does_not():
    gain, control = [], []
    for seed in range(12):
        train, test = draw(seed=seed, noise=3, share=1), draw(800, seed=99, noise=3, share=1)
        few = [np.flatnonzero(train.y == c)[:2] for c in range(4, 8)]
        base, new = train.take_classes("abcd"), train.take(np.concatenate(few))
        model = TEEN(alpha=0.5, tau=8.0).fit(base)
        model = TEEN().update(model, new)
        plain = harmonic(replace(model, alpha=0.0), test)
        gain.append(harmonic(model, test) - plain)
        unit = get_prototypes(replace(model, alpha=0.0))
        share = softmax(8.0 * unit[4:] @ unit[:4].T, axis=1)
        wrong = np.random.default_rng(seed).permuted(share, axis=1) @ unit[:4]
        calibrated = unit.copy()
        calibrated[4:] = normalize_rows(0.5 * unit[4:] + 0.5 * normalize_rows(wrong))
        right = (normalize_rows(test.x - model.centre) @ calibrated.T).argmax(1) == test.y
        old = right[test.y < 4].mean()
        fresh = right[test.y >= 4].mean()
        control.append(2 * old * fresh / (old + fresh) - plain)
    assert np.mean(gain) > 0.01 > np.mean(control)


def test_it_chooses_from_base_classes_in_hiding_and_never_sees_a_new_one():
    train = draw(640, noise=3, share=1)
    base = train.take_classes("abcd")
    model = TEEN().fit(base)
    assert (model.alpha, model.tau) == (TEEN().fit(base).alpha, TEEN().fit(base).tau)
    changed = replace(train, x=np.where(train.y[:, None] < 4, train.x, 0).astype(np.float32))
    again = TEEN().fit(changed.take_classes("abcd"))
    assert (again.alpha, again.tau) == (model.alpha, model.tau)
    assert TEEN(alpha=0.7).fit(base).alpha == 0.7
    assert TEEN(tau=3.0).fit(base).tau == 3.0


def test_it_moves_prototypes_where_hidden_classes_are_mixes_and_not_where_they_stand_apart():
    """Eight classes that are mixes of two poles, against eight that point eight ways."""
    rng = np.random.default_rng(0)
    y = np.arange(800) % 8
    apart = 6 * np.eye(8, 12)[y] + rng.standard_normal((800, 12))
    angle = np.linspace(0, np.pi / 2, 8)
    line = np.zeros((8, 12))
    line[:, 0], line[:, 1] = 4 * np.cos(angle), 4 * np.sin(angle)
    mixed = line[y] + 1.5 * rng.standard_normal((800, 12))
    method = TEEN(shots=1, centre_features=False)
    alphas = [method.fit(Data(x.astype(np.float32), y, NAMES)).alpha for x in (apart, mixed)]
    assert alphas[0] < 0.3 <= alphas[1]


def test_with_too_few_base_classes_it_takes_the_papers_numbers():
    model = TEEN().fit(draw().take_classes("ab"))
    assert (model.alpha, model.tau) == (0.5, 16.0)
    model = TEEN(tau=2.0).fit(draw().take_classes("ab"))
    assert (model.alpha, model.tau) == (0.5, 2.0)


def test_more_rows_of_a_class_move_its_mean_as_if_they_had_come_together():
    data = draw()
    method = TEEN(alpha=0.5, tau=8.0)
    first = method.fit(data.take_classes("abcd"))
    few = data.take_classes("ef")
    whole = method.update(first, few)
    parts = method.update(method.update(first, few.take(np.arange(7))), few.take(np.arange(7, 80)))
    np.testing.assert_allclose(parts.logits(data.x), whole.logits(data.x), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(parts.counts, whole.counts)


def test_it_works_on_few_shot_increments():
    train, test = draw(), draw(seed=5)
    steps = list(few_shot_increments(train, test, 5, 3, 5))
    model = TEEN().update(TEEN().fit(steps[0].train), steps[1].train)
    assert np.mean(model.logits(test.x).argmax(1) == test.y) > 0.8


def test_bad_values_and_other_classes_are_refused():
    data = draw()
    model = TEEN().fit(data)
    bare = replace(data, y=np.full(len(data), -1))
    assert TEEN().update(model, bare) is model
    with pytest.raises(ValueError, match="the model knows 8 classes, the data 9"):
        TEEN().update(model, Data(data.x, data.y, (*NAMES, "i")))
    for bad in (
        {"alpha": 1.5},
        {"alpha": float("nan")},
        {"tau": -1.0},
        {"shots": 0},
        {"trials": 0},
    ):
        with pytest.raises(ValueError, match="must be"):
            TEEN(**bad)
