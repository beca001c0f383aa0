"""Shares of classes among rows without labels: true where they can be, else not followed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from benchmarks.saved_classifier import FeatureSet
from ilk.artifacts.load_classifier import load
from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.methods.gda import GDA
from ilk.trust.class_priors import ClassPriors
from ilk.trust.conformal import ConformalPredictor
from ilk.updates.adapt_priors import adapt_priors, explain_refusal
from ilk.updates.extend import extend_classifier
from ilk.updates.label_shift import estimate_priors_bbse, estimate_priors_em, estimate_source_priors
from ilk.updates.prior_estimate import estimate_priors
from ilk.updates.shift_checks import measure_accuracy_gain

LEARNT, NOW = np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.25, 0.65])


def posterior(x, shares):
    """What Bayes' rule says of rows of the world below."""
    like = np.exp(-0.5 * (x[:, None] - np.array([-1.5, 0.0, 1.5])) ** 2) * shares
    return like / like.sum(1, keepdims=True)


def draw(shares, n, seed):
    """Three Gaussians on a line."""
    rng = np.random.default_rng(seed)
    y = rng.choice(3, n, p=shares)
    return rng.standard_normal(n) + np.array([-1.5, 0.0, 1.5])[y], y


def table(shares, n, seed):
    """The same as features of two columns, the second of noise."""
    x, y = draw(shares, n, seed)
    noise = np.random.default_rng(seed + 1000).standard_normal(n)
    return Data(np.column_stack([x, noise]).astype(np.float32), y, ("a", "b", "c"))


@pytest.fixture(scope="module")
def fitted():
    return FeatureSet.from_data(table(LEARNT, 600, 0)).fit(GDA())


def test_the_shares_are_the_likeliest():
    x, _ = draw(NOW, 300, 1)
    p = posterior(x, LEARNT)

    def loss(z):
        s = np.exp(z - z.max())
        s /= s.sum()
        return -np.log(p @ (s / LEARNT)).sum() - np.log(s).sum()  # one row more of each class

    z = minimize(loss, np.zeros(3), tol=1e-12).x
    want = np.exp(z) / np.exp(z).sum()
    np.testing.assert_allclose(estimate_priors_em(p, LEARNT), want, atol=1e-4)


def test_true_shares_are_found_and_the_intervals_hold_them():
    inside = []
    for seed in range(30):
        x, _ = draw(NOW, 400, seed)
        held, y_held = draw(LEARNT, 400, 500 + seed)
        counts = np.bincount(y_held, minlength=3)
        found = estimate_priors(posterior(x, LEARNT), posterior(held, LEARNT), y_held, counts)
        low, high = found.confidence_interval
        inside.append((low <= NOW) & (high >= NOW))
        assert abs(found.target - NOW).sum() / 2 < 0.3
        assert abs(found.bbse_target - NOW).sum() / 2 < 0.5
    assert 0.88 < np.mean(inside) <= 1.0


def test_the_standard_error_is_the_spread_over_draws():
    """Of the images and of the held-out rows together."""
    found = []
    for seed in range(60):
        x, _ = draw(NOW, 200, seed)
        held, y_held = draw(LEARNT, 150, 5000 + seed)
        counts = np.bincount(y_held, minlength=3)
        one = estimate_priors(posterior(x, LEARNT), posterior(held, LEARNT), y_held, counts)
        found.append((one.target, one.standard_error))
    now, error = map(np.array, zip(*found, strict=True))
    np.testing.assert_allclose(np.median(error, axis=0), now.std(0), rtol=0.35)


def test_nothing_moves_where_nothing_has_changed():
    """However the probabilities lean: what they take for granted is their own mean."""
    x, y = draw(LEARNT, 500, 2)
    leaning = posterior(x, LEARNT) * np.array([3.0, 1.0, 1.0])
    leaning /= leaning.sum(1, keepdims=True)
    learnt = estimate_source_priors(leaning, y, np.bincount(y, minlength=3))
    np.testing.assert_allclose(learnt, leaning.mean(0), atol=1e-9)
    np.testing.assert_allclose(
        estimate_priors_em(leaning, learnt, pseudo_count=0.0), learnt, atol=1e-5
    )


def test_classes_weigh_as_they_were_learnt_whichever_rows_were_kept():
    p = np.array([[0.9, 0.1]] * 5 + [[0.2, 0.8]] * 5)
    y = np.repeat([0, 1], 5)
    np.testing.assert_allclose(estimate_source_priors(p, y, np.array([900, 100])), [0.83, 0.17])
    assert estimate_source_priors(p[:0], y[:0], np.array([8, 0])).min() > 0


def test_hard_answers_are_undone_by_their_confusion():
    confusion = np.array([[0.8, 0.1], [0.2, 0.9]])  # answer by class
    y = np.repeat([0, 1], 100)
    answers = np.concatenate([np.arange(100) >= 80, np.arange(100) >= 10]).astype(int)
    held = np.eye(2)[answers]
    target = np.eye(2)[np.repeat([0, 1], np.round(1000 * confusion @ [0.3, 0.7]).astype(int))]
    found = estimate_priors_bbse(target, held, y, np.array([0.5, 0.5]))
    np.testing.assert_allclose(found, [0.3, 0.7], atol=1e-9)


def test_corrected_probabilities_are_those_of_bayes():
    x, _ = draw(NOW, 50, 3)
    got = ClassPriors(LEARNT, NOW).adjust(posterior(x, LEARNT))
    np.testing.assert_allclose(got, posterior(x, NOW))


def test_following_raises_accuracy_and_keeps_the_promise_of_the_sets(fitted, tmp_path):
    stream, test = table(NOW, 600, 11), table(NOW, 3000, 12)
    followed, found = adapt_priors(fitted, stream.x)
    assert found.has_shifted
    before, after = fitted.score_batch(test.x), followed.score_batch(test.x)

    def right(judged):
        return np.mean(judged.probabilities.argmax(1) == test.y)

    best = np.mean(posterior(test.x[:, 0].astype(float), NOW).argmax(1) == test.y)
    assert right(after) > right(before) + 0.1
    assert right(after) > best - 0.02
    rows = np.arange(len(test))
    assert before.prediction_sets[rows, test.y].mean() < 0.85
    assert abs(after.prediction_sets[rows, test.y].mean() - 0.9) < 0.06
    kept, p = (
        followed.summary_statistics,
        followed.to_probabilities(followed.summary_statistics.logits),
    )
    weights = (found.safe_target / found.source)[kept.y]
    want = ConformalPredictor.fit(p, kept.y, 0.9, kept.unknown_score, weights)
    assert (followed.conformal.threshold, followed.conformal.tie_threshold) == (
        want.threshold,
        want.tie_threshold,
    )
    again = load(followed.save(tmp_path / "adapted"))
    np.testing.assert_array_equal(again.score_batch(test.x).probabilities, after.probabilities)
    assert again.metadata["adaptation"]["adapted"] is True
    assert again.metadata["thresholds"]["set"] == followed.conformal.threshold


def test_shares_are_always_of_the_images_at_hand(fitted):
    """Not of what was followed before: back among images as learnt, it answers as learnt."""
    there, _ = adapt_priors(fitted, table(NOW, 600, 11).x)
    back, found = adapt_priors(there, table(LEARNT, 600, 13).x)
    test = table(LEARNT, 500, 14)
    assert not found.has_shifted
    assert back.class_priors is None
    np.testing.assert_array_equal(
        back.score_batch(test.x).probabilities, fitted.score_batch(test.x).probabilities
    )
    assert back.conformal.threshold == pytest.approx(fitted.conformal.threshold, abs=0.01)
    assert back.metadata["adaptation"]["adapted"] is False


def test_from_one_stream_to_the_next_is_as_from_the_start(fitted):
    there, _ = adapt_priors(fitted, table(NOW, 600, 11).x)
    next_stream = table(np.array([0.2, 0.7, 0.1]), 600, 16)
    by_way, straight = adapt_priors(there, next_stream.x)[0], adapt_priors(fitted, next_stream.x)[0]
    assert straight.class_priors is not None
    np.testing.assert_array_equal(
        by_way.score_batch(next_stream.x).probabilities,
        straight.score_batch(next_stream.x).probabilities,
    )


def test_the_benefit_is_what_following_brings():
    """Over many streams: its mean, and a deviation that is not too small."""
    brought, told = [], []
    held, y_held = draw(LEARNT, 3000, 77)
    for seed in range(150):
        x, y = draw(NOW, 150, 9000 + seed)
        p = posterior(x, LEARNT)
        now = estimate_priors_em(p, LEARNT)
        right = (p * now / LEARNT).argmax(1) == y
        brought.append(np.mean(right) - np.mean(p.argmax(1) == y))
        told.append(
            measure_accuracy_gain(
                p, (posterior(held, LEARNT), y_held), now / LEARNT, now, np.full(3, 0.06)
            )
        )
    expected, deviation = np.array(told).T
    assert np.mean(brought) == pytest.approx(expected.mean(), abs=0.04)
    apart = np.std(brought - expected)
    assert apart < np.mean(deviation) < 2 * apart


def test_the_benefit_trusts_labels_more_than_probabilities():
    """Where a classifier is sure and wrong about the class that has become common."""
    y_held = np.repeat([0, 1], 100)
    p_held = np.where(np.arange(200)[:, None] % 2 == 0, [[0.6, 0.4]], [[0.45, 0.55]])
    p = np.tile([[0.6, 0.4]], (300, 1))
    now = np.array([0.2, 0.8])
    worth, _ = measure_accuracy_gain(p, (p_held, y_held), now / 0.5, now, np.zeros(2))
    by_hand = 0.8 * 0.5 - 0.2 * 0.5  # half of either class changes to the second
    assert worth == pytest.approx(by_hand)


def test_shares_move_only_as_far_as_is_certain():
    x, _ = draw(NOW, 200, 5)
    held, y_held = draw(LEARNT, 400, 6)
    found = estimate_priors(
        posterior(x, LEARNT), posterior(held, LEARNT), y_held, np.array([60, 30, 10])
    )
    low, high = found.confidence_interval
    assert found.safe_target.sum() == pytest.approx(1)
    step, whole = found.safe_target - found.source, found.target - found.source
    assert np.abs(step).sum() < np.abs(whole).sum()
    inside = (found.source > low) & (found.source < high)
    near = np.where(inside, found.source, np.where(whole > 0, low, high))
    np.testing.assert_allclose(found.safe_target, near / near.sum())


def test_a_few_images_are_followed_only_where_that_pays_for_certain(fitted):
    mild = adapt_priors(fitted, table(np.array([0.5, 0.3, 0.2]), 60, 21).x)
    assert mild[0].class_priors is None
    strong = adapt_priors(fitted, table(NOW, 400, 22).x)
    assert strong[1].is_safe
    assert strong[0].class_priors is not None


def test_a_follower_can_grow_and_keeps_the_ratios(fitted):
    followed, _ = adapt_priors(fitted, table(NOW, 600, 11).x)
    rng = np.random.default_rng(0)
    owls = Data(
        (rng.standard_normal((80, 2)) + np.array([0, 8])).astype(np.float32),
        np.zeros(80, int),
        ("owl",),
    )
    grown, _ = extend_classifier(followed, owls)
    ratio = grown.class_priors.ratio
    np.testing.assert_allclose(ratio[:3] / ratio[3], followed.class_priors.ratio)
    assert (grown.score_batch(owls.x).probabilities.argmax(1) == 3).mean() > 0.95
    test = table(NOW, 500, 15)
    same = grown.score_batch(test.x).probabilities.argmax(1) == followed.score_batch(
        test.x
    ).probabilities.argmax(1)
    assert same.mean() > 0.97


def spoilt(kind):
    """Streams that are not a matter of shares alone."""
    rng = np.random.default_rng(0)
    return {
        "too few": table(NOW, 12, 4).x,
        "one class": table(np.array([0.0, 0.0, 1.0]), 300, 4).x,
        "strangers": (table(NOW, 300, 4).x + np.array([0, 30])).astype(np.float32),
        "too clear": np.column_stack([np.tile([-3, 3], 150), rng.standard_normal(300)]).astype(
            "f4"
        ),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("too few", "12 images are too few"),
        ("one class", "nearly all images are classified as 'c'"),
        ("strangers", "flagged as unknown"),
        ("too clear", "no class priors explain"),
    ],
)
def test_what_is_no_change_of_shares_is_not_followed_unless_told(fitted, kind, says):
    with pytest.raises(InputError, match=says):
        adapt_priors(fitted, spoilt(kind))
    anyway, found = adapt_priors(fitted, spoilt(kind), force=True)
    assert anyway.class_priors is not None
    assert found.target.min() > 0


def test_bad_input_is_one_sentence(fitted):
    with pytest.raises(InputError, match="no images to estimate class priors from"):
        adapt_priors(fitted, np.zeros((0, 2), np.float32))
    with pytest.raises(InputError, match="come from another encoder"):
        adapt_priors(fitted, np.zeros((50, 7), np.float32))
    from dataclasses import replace

    with pytest.raises(InputError, match="class priors of its training set"):
        adapt_priors(replace(fitted, summary_statistics=None), np.zeros((50, 2), np.float32))


def test_true_shifts_are_hardly_ever_doubted(fitted):
    doubted = 0
    rng = np.random.default_rng(8)
    for seed in range(30):
        stream = table(rng.dirichlet(np.full(3, 2.0)), 200, 700 + seed)
        p = fitted.score_batch(stream.x).probabilities
        summary = fitted.summary_statistics
        held = fitted.to_probabilities(summary.logits)
        found = estimate_priors(p, held, summary.y, summary.counts)
        doubted += bool(explain_refusal(found, 0, 0.05, fitted.classes))
    assert doubted <= 2


def estimated(now=LEARNT, n=400):
    x, _ = draw(np.asarray(now), n, 3)
    held, y_held = draw(LEARNT, 400, 4)
    counts = np.bincount(y_held, minlength=3)
    return estimate_priors(posterior(x, LEARNT), posterior(held, LEARNT), y_held, counts)


def test_few_strangers_are_no_evidence_that_all_has_changed():
    """7 of 40 are more than the 15 % allowed and may be chance; 20 of 40 are none."""
    few = replace(estimated(), n_images=40)
    assert explain_refusal(few, 7, 0.05, ("a", "b", "c")) == ""
    reason = explain_refusal(few, 20, 0.05, ("a", "b", "c"))
    assert "50% of the images are flagged as unknown" in reason


def test_one_class_alone_is_told_however_few_the_images_and_many_the_classes():
    """With one row more of every class, 20 of 20 are a share of 21 / 40 among 20 classes."""
    k = 20
    now = np.append(21.0, np.ones(k - 1)) / (20 + k)
    alone = replace(estimated(), target=now, source=np.full(k, 1 / k), n_images=20)
    assert "nearly all images are classified as '0' (100%)" in explain_refusal(
        alone, 0, 0.05, tuple(map(str, range(k)))
    )


def test_a_class_that_was_nearly_all_there_was_may_be_so_again():
    learnt = np.array([0.98, 0.01, 0.01])
    same = replace(estimated(), target=np.array([0.97, 0.015, 0.015]), source=learnt, n_images=400)
    assert explain_refusal(same, 0, 0.05, ("a", "b", "c")) == ""
    assert "nearly all" in explain_refusal(replace(same, source=LEARNT), 0, 0.05, ("a", "b", "c"))


def test_it_is_followed_only_where_shares_changed_and_that_costs_nothing(fitted, monkeypatch):
    from ilk.updates import adapt_priors as following

    x = table(NOW, 400, 22).x
    whole = following.estimate_priors
    for worth, likelier, followed in (
        ((0.1, 0.01), (0.2, 0.01), True),
        ((0.01, 0.02), (0.2, 0.01), False),  # may cost 3 points
        ((0.0, 0.004), (0.2, 0.01), True),  # costs less than a point, for certain
        ((0.1, 0.01), (0.01, 0.01), False),  # chance
    ):
        monkeypatch.setattr(
            following,
            "estimate_priors",
            lambda *given, w=worth, g=likelier: replace(
                whole(*given), accuracy_gain=w, likelihood_gain=g
            ),
        )
        assert (adapt_priors(fitted, x)[0].class_priors is not None) == followed


def test_hard_answers_are_undone_whatever_shares_the_held_out_rows_have():
    """Held out 3 to 1, in truth 3 to 7; the confusion of either class is as told."""
    y = np.repeat([0, 1], [300, 100])
    answers = np.concatenate([np.arange(300) >= 240, np.arange(100) >= 10]).astype(int)
    confusion = np.array([[0.8, 0.1], [0.2, 0.9]])
    target = np.eye(2)[np.repeat([0, 1], np.round(1000 * confusion @ [0.3, 0.7]).astype(int))]
    found = estimate_priors_bbse(target, np.eye(2)[answers], y, np.array([0.75, 0.25]))
    np.testing.assert_allclose(found, [0.3, 0.7], atol=1e-9)


def test_an_interval_of_shares_lies_within_0_and_1():
    low, high = replace(
        estimated((0.98, 0.01, 0.01)), standard_error=np.full(3, 0.4)
    ).confidence_interval
    assert low.min() == 0
    assert high.max() == 1


@pytest.mark.parametrize(("held", "n"), [(400, 400), (200, 4000)])
def test_shares_that_have_not_changed_are_hardly_ever_said_to_have(held, n):
    """Many images and few held-out rows too: `learnt` is then the least certain of all."""
    said = 0
    for seed in range(20):
        x, _ = draw(LEARNT, n, seed)
        h, y = draw(LEARNT, held, 5000 + seed)
        p, p_held = posterior(x, LEARNT), posterior(h, LEARNT)
        said += estimate_priors(p, p_held, y, np.bincount(y, minlength=3)).has_shifted
    assert said <= 3


def test_where_nothing_is_followed_the_sets_stay_those_of_the_fit(monkeypatch):
    from benchmarks.saved_classifier import FeatureSet
    from ilk.methods.gda import GDA
    from ilk.trust import summary_statistics as keeping
    from ilk.updates.adapt_priors import adapt_priors

    monkeypatch.setattr(keeping, "MAX_ROWS", 60)
    fitted = FeatureSet.from_data(table(LEARNT, 2000, 0)).fit(GDA())
    back, found = adapt_priors(fitted, table(LEARNT, 600, 13).x)
    assert not found.has_shifted
    assert back.conformal == fitted.conformal or (
        back.conformal.threshold,
        back.conformal.n_rows,
    ) == (
        fitted.conformal.threshold,
        fitted.conformal.n_rows,
    )
