"""A classifier that grows: as if all had been learnt at once, where mathematics says so."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.saved_classifier import FeatureSet
from ilk.artifacts import model_folder as artefact
from ilk.artifacts import pack as packed
from ilk.artifacts.classifier import Classifier
from ilk.artifacts.load_classifier import load
from ilk.core.data import Data
from ilk.core.errors import ArtifactError, InputError
from ilk.core.folder_transaction import FolderTransaction
from ilk.maths import leave_one_out as left_out
from ilk.maths.covariance import compute_covariance_terms, estimate_covariance
from ilk.maths.gaussian import compute_statistics
from ilk.methods import parse
from ilk.methods.gda import GDA
from ilk.methods.nearest_mean import NearestClassMean
from ilk.trust import summary_statistics as keeping
from ilk.trust.calibration import Calibration
from ilk.trust.class_priors import ClassPriors
from ilk.trust.conformal import NO_TIE_LIMIT, ConformalPredictor
from ilk.trust.summary_statistics import (
    SummaryStatistics,
    select_first_rows,
    shuffle_within_classes,
)
from ilk.updates.extend import extend_classifier
from ilk.updates.extended_models import ExtendedModel, HeldOutRows, leave_one_out_logits

HEADS = (
    "GDA()",
    "GDA(rows='unit')",
    "StreamingGDA()",
    "NearestClassMean()",
    "LogisticRegression(C=1.0)",
    "KNearest()",
)
NAMES = ("ant", "bee", "cat", "dog", "elk", "fox")


def world(n=360, d=8, k=6, seed=0, apart=1.0):
    """Six unequal classes that overlap a little, on a skewed ground."""
    rng = np.random.default_rng(seed)
    means = apart * np.random.default_rng(99).standard_normal((k, d))
    mix = 0.3 * np.random.default_rng(98).standard_normal((d, d)) / np.sqrt(d) + np.eye(d)
    y = rng.choice(k, n, p=np.arange(k, 0, -1) / (k * (k + 1) / 2))
    return Data((means[y] + rng.standard_normal((n, d)) @ mix + 3).astype(np.float32), y, NAMES[:k])


def part(data, names):
    """Rows of `names` alone, which are all the classes there are."""
    rows = data.take_classes(names)
    to = np.array([names.index(c) if c in names else -1 for c in data.classes])
    return Data(rows.x, to[rows.y], tuple(names))


def fitted(data, method="GDA()"):
    return FeatureSet.from_data(data).fit(parse(method))


def by_name(classifier, x):
    """Probabilities with columns in the order of the alphabet."""
    p = classifier.score_batch(x).probabilities
    return p[:, np.argsort(classifier.classes)]


@pytest.fixture(scope="module")
def data():
    return world()


@pytest.fixture(scope="module")
def base(data):
    return {head: fitted(part(data, NAMES[:4]), head) for head in HEADS}


# What the update gives


@pytest.mark.parametrize("method", ["GDA()", "GDA(shrink=0.3, uniform=True)", "GDA(shrink='oas')"])
def test_gda_after_adding_is_gda_of_all_rows(data, method):
    grown, growth = extend_classifier(fitted(part(data, NAMES[:4]), method), part(data, NAMES[4:]))
    batch = parse(method).fit(data)
    ours, theirs = grown.model.logits(data.x), batch.logits(data.x)
    np.testing.assert_allclose(ours - ours[:, :1], theirs - theirs[:, :1], rtol=2e-5, atol=2e-4)
    assert grown.classes == NAMES
    before = fitted(part(data, NAMES[:4]), method).model.logits(data.x)
    old = data.y < 4
    change = (theirs[:, :4] - before)[old]
    assert growth.max_logit_change == pytest.approx(np.ptp(change, axis=1).max(), rel=1e-3)


def test_streaming_gda_after_adding_is_that_of_all_rows_to_rounding(data, base):
    grown, _ = extend_classifier(base["StreamingGDA()"], part(data, NAMES[4:]))
    batch = parse("StreamingGDA()").fit(data)
    np.testing.assert_allclose(grown.model.logits(data.x), batch.logits(data.x), rtol=0, atol=1e-8)


def test_nearest_mean_gets_the_mean_of_unit_rows_and_keeps_the_others_to_the_bit(data, base):
    before = base["NearestClassMean()"]
    added = part(data, ["elk"])
    grown, growth = extend_classifier(before, added)
    old, new = before.model, grown.model
    np.testing.assert_array_equal(new.logits(data.x)[:, :4], old.logits(data.x))
    assert growth.max_logit_change == 0
    u = added.x.astype(float) - old.centre
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    np.testing.assert_allclose(new.weight[4], old.inverse_temperature * u.mean(0), rtol=1e-5)
    half_t = old.inverse_temperature / 2
    assert new.bias[4] == pytest.approx(-half_t * np.sum(u.mean(0) ** 2), rel=1e-5)


def test_neighbours_after_adding_are_those_of_all_rows(data, base):
    grown, _ = extend_classifier(base["KNearest()"], part(data, NAMES[4:]))
    whole = parse(f"KNearest(k={grown.model.k})").fit(data)
    np.testing.assert_allclose(grown.model.logits(data.x + 0.1), whole.logits(data.x + 0.1))


def test_another_head_keeps_its_logits_and_the_new_class_gets_what_the_gaussians_say(data, base):
    before = base["LogisticRegression(C=1.0)"]
    grown, growth = extend_classifier(before, part(data, NAMES[4:]))
    model, x = grown.model, data.x
    assert isinstance(model, ExtendedModel)
    np.testing.assert_array_equal(model.logits(x)[:, :4], before.model.logits(x))
    assert growth.max_logit_change == 0
    assert model.base_temperature == before.calibration.temperature
    # A second derivation: mix the head's own probabilities and the Gaussians' by total probability.
    z = before.model.logits(x) / model.base_temperature
    head = np.exp(z - z.max(1, keepdims=True))
    head /= head.sum(1, keepdims=True)
    stats = compute_statistics(x, data.y, 6)
    near = np.linalg.inv(estimate_covariance(stats))
    off = x[:, None].astype(float) - stats.means
    g = -0.5 * np.einsum("nkd,de,nke->nk", off, near, off) + np.log(stats.counts / stats.n)
    g = np.exp((g - g.max(1, keepdims=True)) / model.gaussian_temperature)
    g /= g.sum(1, keepdims=True)
    want = np.hstack([head * g[:, :4].sum(1, keepdims=True), g[:, 4:]])
    got = np.exp(model.logits(x) / model.base_temperature)
    np.testing.assert_allclose(got / got.sum(1, keepdims=True), want, atol=2e-4)


@pytest.mark.parametrize("head", HEADS)
def test_the_order_of_adding_does_not_matter(data, base, head):
    one, two = part(data, ["elk"]), part(data, ["fox"])
    there = extend_classifier(extend_classifier(base[head], one)[0], two)[0]
    back = extend_classifier(extend_classifier(base[head], two)[0], one)[0]
    both = extend_classifier(base[head], part(data, ["elk", "fox"]))[0]
    x = world(seed=5).x
    np.testing.assert_allclose(by_name(there, x), by_name(both, x), atol=2e-4)
    np.testing.assert_allclose(by_name(back, x), by_name(both, x), atol=2e-4)
    assert back.conformal.threshold == pytest.approx(both.conformal.threshold, abs=2e-3)
    assert back.ood_detector.threshold == pytest.approx(both.ood_detector.threshold, rel=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_a_grown_classifier_names_new_and_old_rows_with_true_probabilities(data, base, head):
    grown, growth = extend_classifier(base[head], part(data, NAMES[4:]))
    new = world(n=3000, seed=7)
    judged = grown.score_batch(new.x)
    right = judged.probabilities.argmax(1) == new.y
    refit = fitted(data, head).score_batch(new.x).probabilities.argmax(1) == new.y
    assert right.mean() > refit.mean() - 0.02
    assert right[new.y >= 4].mean() > refit[new.y >= 4].mean() - 0.07
    assert abs(judged.probabilities.max(1).mean() - right.mean()) < 0.05
    covered = judged.prediction_sets[np.arange(len(new)), new.y]
    assert abs(covered.mean() - 0.9) < 0.05
    assert judged.is_unknown.mean() < 0.1
    assert growth.old_agreement is not None
    assert growth.old_agreement > 0.75
    for name in ("elk", "fox"):
        own = growth.recall[name]
        assert own is not None
        assert abs(own - right[new.y == NAMES.index(name)].mean()) < 0.3


def test_the_sense_of_the_unknown_knows_the_new_class(base):
    rng = np.random.default_rng(3)
    far = Data((rng.standard_normal((60, 8)) - 12).astype(np.float32), np.zeros(60, int), ("owl",))
    assert base["GDA()"].ood_detector.flag(far.x).all()
    grown, _ = extend_classifier(base["GDA()"], far)
    assert (
        grown.ood_detector.flag((rng.standard_normal((200, 8)) - 12).astype(np.float32)).mean()
        < 0.15
    )
    assert grown.ood_detector.threshold < 1.5 * base["GDA()"].ood_detector.threshold
    assert grown.ood_detector.flag((rng.standard_normal((50, 8)) + 40).astype(np.float32)).all()


@pytest.mark.parametrize("n", [12, 200])
def test_a_mean_more_leaves_every_old_distance(n):
    """With few rows the new mean lies outside of what they span; with many it cannot."""
    from ilk.trust.out_of_distribution import fit_gaussian

    rng = np.random.default_rng(0)
    data = Data(rng.standard_normal((n, 20)).astype(np.float32), np.arange(n) % 3, NAMES[:3])
    before = fit_gaussian(data)
    mean = rng.standard_normal(20) * 3 + 5
    after = before.with_mean(mean, 3)
    x = rng.standard_normal((50, 20)).astype(np.float32)
    far = replace(after, means=after.means[3:]).score(x)
    np.testing.assert_allclose(after.score(x), np.minimum(before.score(x), far), rtol=1e-3)
    np.testing.assert_allclose(after.score(mean[None].astype(np.float32)), 0, atol=1e-3)
    full = before.axes.shape[1] == 20
    assert after.axes.shape[1] - before.axes.shape[1] == (0 if full else 1)


def test_more_rows_of_a_class_are_as_if_all_had_come_at_once(data):
    half = np.arange(len(data)) % 2 == 0
    begun = fitted(data.take(half))
    grown, _ = extend_classifier(begun, data.take(~half), allow_known=True)
    ours, theirs = grown.model.logits(data.x), GDA().fit(data).logits(data.x)
    np.testing.assert_allclose(ours - ours[:, :1], theirs - theirs[:, :1], rtol=2e-5, atol=2e-4)
    np.testing.assert_array_equal(grown.summary_statistics.counts, data.count_labels())


def test_more_rows_of_a_class_that_came_later_and_none_of_one_that_was_fitted(data, base):
    before = base["LogisticRegression(C=1.0)"]
    elk = part(data, ["elk"])
    once, _ = extend_classifier(before, elk)
    parts = extend_classifier(before, elk.take(slice_of(elk, 0)))[0]
    parts, _ = extend_classifier(parts, elk.take(slice_of(elk, 1)), allow_known=True)
    np.testing.assert_allclose(parts.model.weight, once.model.weight, atol=1e-4)
    with pytest.raises(InputError, match="trained jointly with the other classes by Logistic"):
        extend_classifier(once, part(data, ["ant"]), allow_known=True)


def slice_of(data, which):
    return np.arange(len(data)) % 2 == which


# What is said of rows that were learnt from


@pytest.mark.parametrize("shrink", [None, 0.4, "oas"])
@pytest.mark.parametrize("uniform", [False, True])
def test_left_out_rows_are_answered_as_by_a_rule_made_without_them(shrink, uniform):
    """Against fits without the row, with the covariance's shrinkage held where it was."""
    data = world(n=90, d=5, k=3, seed=2)
    stats = compute_statistics(data.x, data.y, 3)
    got = left_out.compute_gaussian_logits(stats, data.x, data.y, shrink, uniform)
    whole = estimate_covariance(stats, shrink)
    weight = compute_covariance_terms(stats, shrink)[0]
    for i in range(0, 90, 7):
        rest = np.arange(90) != i
        less = compute_statistics(data.x[rest], data.y[rest], 3)
        near = np.linalg.inv(whole + weight * (less.scatter - stats.scatter))
        off = data.x[i].astype(float) - less.means
        want = -0.5 * np.einsum("kd,de,ke->k", off, near, off)
        want += 0 if uniform else np.log(less.counts)
        np.testing.assert_allclose(got[i] - got[i, 0], want - want[0], rtol=3e-6, atol=1e-5)


def test_left_out_rows_are_answered_as_by_gda_fitted_without_them_but_for_one_in_n():
    data = world(n=150, d=5, k=3, seed=4)
    got = left_out.compute_gaussian_logits(compute_statistics(data.x, data.y, 3), data.x, data.y)
    for i in range(0, 150, 31):
        want = GDA().fit(data.take(np.arange(150) != i)).logits(data.x[i : i + 1])[0]
        np.testing.assert_allclose(got[i] - got[i, 0], want - want[0], rtol=0.02, atol=0.02)


def test_left_out_nearest_means():
    data = world(n=60, d=5, k=3, seed=2)
    means = np.stack([data.x[data.y == c].mean(0, dtype=float) for c in range(3)])
    got = left_out.compute_nearest_mean_logits(
        data.x.astype(float), data.y, means, data.count_labels(), 2.0
    )
    for i in range(0, 60, 11):
        rest = np.arange(60) != i
        own = [data.x[rest & (data.y == c)].mean(0, dtype=float) for c in range(3)]
        want = -np.sum((data.x[i] - np.stack(own)) ** 2, axis=1)
        np.testing.assert_allclose(got[i] - got[i, 0], want - want[0], atol=1e-6)


def test_left_out_neighbours(data, base):
    model = base["KNearest()"].model
    rows = part(data, NAMES[:4])
    held = HeldOutRows(rows.x, rows.y, np.zeros((len(rows), 4)), np.zeros(len(rows)))
    got = leave_one_out_logits(
        model, parse("KNearest()"), compute_statistics(rows.x, rows.y, 4), held
    )
    for i in range(0, len(rows), 53):
        rest = np.arange(len(rows)) != i
        want = parse(f"KNearest(k={model.k})").fit(rows.take(rest)).logits(rows.x[i : i + 1])
        np.testing.assert_allclose(got[i], want[0])


# What is kept


def test_what_is_kept_is_bounded_and_grows_thinner_from_the_end(monkeypatch):
    monkeypatch.setattr(keeping, "MAX_ROWS", 50)
    data = world(n=400)
    kept = SummaryStatistics.from_data(data, np.zeros((400, 6)), np.ones(400, bool), np.zeros(400))
    assert len(kept.y) <= 50 + 6
    np.testing.assert_array_equal(np.bincount(kept.y), np.ceil(50 / 400 * data.count_labels()))
    order = shuffle_within_classes(data.y)
    few = select_first_rows(data.y[order], data.count_labels() * 3, 8)
    many = select_first_rows(data.y[order], data.count_labels(), 8)
    assert set(few) <= set(many)


def test_statistics_come_back_whole(data):
    stats = compute_statistics(data.x, data.y, 6)
    kept = SummaryStatistics.from_data(
        data, np.zeros((len(data), 6)), np.ones(len(data), bool), np.zeros(len(data))
    )
    np.testing.assert_array_equal(
        kept.statistics.scatter, np.tril(stats.scatter) + np.tril(stats.scatter, -1).T
    )
    np.testing.assert_array_equal(kept.statistics.means, stats.means)


@pytest.mark.parametrize("head", HEADS)
def test_added_saved_opened_and_added_again(data, base, head, tmp_path):
    once = extend_classifier(base[head], part(data, ["elk"]))[0]
    again = load(once.save(tmp_path / "kinds"))
    np.testing.assert_array_equal(by_name(again, data.x), by_name(once, data.x))
    twice = extend_classifier(again, part(data, ["fox"]))[0]
    straight = extend_classifier(once, part(data, ["fox"]))[0]
    np.testing.assert_allclose(by_name(twice, data.x), by_name(straight, data.x), atol=1e-5)
    assert [list(g["n_images"]) for g in twice.metadata["extensions"]] == [["elk"], ["fox"]]
    assert twice.metadata["thresholds"]["set"] == twice.conformal.threshold


def test_a_folder_is_whole_whenever_the_writing_stops(data, base, tmp_path, monkeypatch):
    home = base["GDA()"].save(tmp_path / "kinds")
    grown, _ = extend_classifier(load(home), part(data, ["elk"]))
    commit = FolderTransaction.commit

    def stops(_self):
        raise KeyboardInterrupt

    monkeypatch.setattr(FolderTransaction, "commit", stops)
    with pytest.raises(KeyboardInterrupt):
        grown.save(home)
    monkeypatch.setattr(FolderTransaction, "commit", commit)
    assert load(home).classes == NAMES[:4]
    for names in (NAMES[:5], NAMES[:5]):
        grown.save(home)
        assert load(home).classes == names
        assert len(list(home.glob("*.safetensors"))) == 1


def test_a_model_without_statistics_says_that_it_cannot_grow(data, base, tmp_path):
    home = replace(base["GDA()"], summary_statistics=None).save(tmp_path / "kinds")
    old = load(home)
    np.testing.assert_array_equal(by_name(old, data.x), by_name(base["GDA()"], data.x))
    with pytest.raises(InputError, match=r"has no statistics to be extended by .* ilk fit"):
        extend_classifier(old, part(data, ["elk"]))


def test_a_part_within_a_part_is_checked_like_any_other(data, base, tmp_path):
    grown, _ = extend_classifier(base["LogisticRegression(C=1.0)"], part(data, ["elk"]))
    home = grown.save(tmp_path / "kinds")
    weights, about = artefact.read(home)
    assert hashlib.sha256(weights).hexdigest() == about["weights"]["sha256"]
    about["parts"]["model"]["base"]["kind"] = "os:system"
    with pytest.raises(ArtifactError, match="unknown kind 'os:system'"):
        packed.unpack(weights, about["parts"])


# What cannot be done


def test_bad_input_is_one_sentence(data, base):
    gda, elk = base["GDA()"], part(data, ["elk"])
    nothing = Data(np.zeros((0, 8), np.float32), np.zeros(0, int), ("elk",))
    cases = {
        "knows 'ant' already, from .* images; .*--allow-known": part(data, ["ant"]),
        "spelled like the class 'ant'": replace(elk, classes=("Ant ",)),
        "no image of 'elk' that can be used": nothing,
        "come from another encoder": replace(elk, x=elk.x[:, :5]),
        "a class needs a name": replace(elk, classes=(" ",)),
        "only labelled images": Data(
            np.append(elk.x, elk.x[:1], 0), np.append(elk.y, -1), ("elk",)
        ),
    }
    for says, added in cases.items():
        with pytest.raises(InputError, match=says):
            extend_classifier(gda, added)
    assert gda.classes == NAMES[:4]


def test_a_class_that_looks_like_an_old_one_is_refused_unless_told(data, base):
    rows = part(world(seed=11), ["bee"])
    same = replace(rows, classes=("wasp",))
    for head in HEADS:
        with pytest.raises(InputError, match="'wasp' cannot be distinguished from 'bee'"):
            extend_classifier(base[head], same)
    grown, growth = extend_classifier(base["GDA()"], same, force=True)
    assert grown.classes[-1] == "wasp"
    assert abs(growth.similarities[0].auc - 0.5) < 0.1


def test_one_row_is_enough_and_what_is_not_known_is_not_told(data, base):
    one = Data(part(data, ["elk"]).x[:1] + 4, np.zeros(1, int), ("elk",))
    for head in HEADS:
        grown, growth = extend_classifier(base[head], one)
        assert growth.recall == {"elk": None}
        p = grown.score_batch(np.vstack([one.x, data.x])).probabilities
        # Where one row is outvoted, or its length is not read, another class may be more likely.
        assert p[0].argmax() == 4 or head in ("KNearest()", "GDA(rows='unit')")
        assert np.isfinite(p).all()


def test_with_nothing_held_out_it_still_grows():
    data = world(n=40)
    single = data.take([int(np.flatnonzero(data.y == c)[0]) for c in range(4)])
    single = Data(single.x, single.y, NAMES[:4])
    blank = np.zeros((4, 4)), np.zeros(4, bool), np.full(4, np.nan)
    material = FeatureSet.from_data(part(data, NAMES[:4])).fit(NearestClassMean())
    bare = replace(
        material,
        model=NearestClassMean().fit(single),
        summary_statistics=SummaryStatistics.from_data(single, *blank),
    )
    grown, growth = extend_classifier(bare, part(data, ["elk"]).take([0]))
    assert grown.classes == NAMES[:5]
    assert growth.old_agreement is None


# Sets under weights


def test_weights_that_are_all_alike_change_no_set():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), 200)
    y, ties = rng.integers(0, 4, 200), rng.random(200)
    for level in (0.5, 0.9, 0.99, 0.999):
        for tie in (None, ties):
            plain = ConformalPredictor.fit(p, y, level, tie)
            weighted = ConformalPredictor.fit(p, y, level, tie, np.full(200, 3.0))
            assert (weighted.threshold, weighted.tie_threshold) == (
                plain.threshold,
                plain.tie_threshold,
            )
    assert ConformalPredictor.fit(p[:5], y[:5], 0.9).threshold == 0
    assert ConformalPredictor.fit(p[:0], y[:0], 0.9).tie_threshold == NO_TIE_LIMIT


def test_sets_cover_where_the_weights_say():
    rng = np.random.default_rng(1)

    def draw(shares, n):
        y = rng.choice(3, n, p=shares)
        z = rng.standard_normal((n, 3)) + np.eye(3)[y] * np.array([3.0, 2.0, 1.0])
        return np.exp(z) / np.exp(z).sum(1, keepdims=True), y

    learnt, now = np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.2, 0.7])
    p, y = draw(learnt, 4000)
    plain, followed = (
        ConformalPredictor.fit(p, y, 0.9),
        ConformalPredictor.fit(p, y, 0.9, None, (now / learnt)[y]),
    )
    q, truth = draw(now, 4000)
    rows = np.arange(4000)
    assert plain.contains(q)[rows, truth].mean() < 0.85
    assert abs(followed.contains(q)[rows, truth].mean() - 0.9) < 0.03


def test_classifier_is_the_same_object_before_and_after(data, base):
    gda: Classifier = base["GDA()"]
    before = by_name(gda, data.x)
    extend_classifier(gda, part(data, ["elk"]))
    np.testing.assert_array_equal(by_name(gda, data.x), before)


def test_an_added_row_is_as_far_as_from_means_made_without_it(data, base):
    """From the nearest of all means, old ones too; with few rows, one row moves its mean far."""
    before, late = base["GDA()"], world(seed=11)
    x = np.concatenate([late.x[late.y == 0][:4], late.x[late.y == 4][:4]])
    grown, _ = extend_classifier(before, Data(x, np.zeros(8, int), ("owl",)), force=True)
    kept = grown.summary_statistics
    old = 0
    for row, far in zip(kept.x[kept.y == 4], kept.unknown_score[kept.y == 4], strict=True):
        rest = x[(x != row).any(1)].mean(0, dtype=float)
        want = before.ood_detector.with_mean(rest, 4).score(row[None])[0]
        assert far == pytest.approx(want, rel=1e-3)
        old += want == before.ood_detector.score(row[None])[0]
    assert 0 < old < 8  # some are nearest to an old mean, some to their own


def test_the_threshold_of_the_unknown_is_made_anew(data, base):
    before = base["GDA()"]
    grown, _ = extend_classifier(before, part(data, NAMES[4:]))
    far = np.sort(grown.summary_statistics.unknown_score)
    rank = int(np.ceil(0.95 * (len(far) + 1)))
    assert grown.ood_detector.threshold == far[rank - 1] != before.ood_detector.threshold
    assert grown.ood_detector.n_rows == len(far)


def test_sets_of_a_follower_that_grew_hold_under_the_shares_it_follows(data, base):
    before = base["GDA()"]
    now = np.array([0.05, 0.05, 0.1, 0.8])
    counts = before.summary_statistics.counts
    followed = replace(before, class_priors=ClassPriors(counts / counts.sum(), now))
    grown, _ = extend_classifier(followed, part(data, ["elk"]))
    p, kept = grown.to_probabilities(grown.summary_statistics.logits), grown.summary_statistics
    want = ConformalPredictor.fit(
        p, kept.y, 0.9, kept.unknown_score, grown.class_priors.ratio[kept.y]
    )
    assert (grown.conformal.threshold, grown.conformal.tie_threshold) == (
        pytest.approx(want.threshold, abs=1e-5),
        want.tie_threshold,
    )
    plain = ConformalPredictor.fit(p, kept.y, 0.9, kept.unknown_score)
    assert want.threshold != pytest.approx(plain.threshold, abs=1e-3)


def test_more_rows_go_to_the_mean_of_their_class_though_another_class_has_none(data):
    """A class that is named and has no row has no mean."""
    rows = part(data, NAMES[:4])
    gap = fitted(Data(rows.x, np.where(rows.y > 0, rows.y + 1, 0), ("ant", "ape", *NAMES[1:4])))
    more = part(data, ["dog"])
    grown, _ = extend_classifier(gap, Data(more.x + 3, more.y, ("dog",)), allow_known=True)
    was, now = gap.ood_detector.means, grown.ood_detector.means
    moved = np.abs(now - was).max(1) > 1e-3
    np.testing.assert_array_equal(moved, [False, False, False, True])


def test_a_new_class_beside_more_rows_is_looked_at_all_the_same(data, base):
    same = replace(part(world(seed=11), ["bee"]), classes=("wasp",))
    with pytest.raises(InputError, match="'wasp' cannot be distinguished from 'bee'"):
        extend_classifier(base["GDA()"], same, allow_known=True)


def test_the_heat_is_what_fits_without_the_row_are_to_be_divided_by(data):
    """Rows with heavy tails, so that it is not 1; against one fit a row."""
    rng = np.random.default_rng(2)
    x = (data.x + 0.7 * rng.standard_t(2, data.x.shape)).astype(np.float32)
    heavy = Data(x, data.y, data.classes)
    begun = fitted(part(heavy, NAMES[:4]), "LogisticRegression(C=1.0)")
    grown, _ = extend_classifier(begun, part(heavy, NAMES[4:]), force=True)
    z = [
        GDA().fit(heavy.take(np.arange(len(x)) != i)).logits(x[i : i + 1])[0] for i in range(len(x))
    ]
    want = Calibration.fit(np.array(z), heavy.y).temperature
    assert grown.model.gaussian_temperature == pytest.approx(want, rel=0.03)
    assert abs(want - 1) > 0.1


def test_what_is_kept_of_old_rows_is_said_by_the_rule_of_the_head_itself(data):
    """Its own shrinkage and its own prior, on a fit without the row."""
    head = parse("GDA(shrink=0.6, uniform=True)")
    grown, _ = extend_classifier(
        fitted(part(data, NAMES[:4]), "GDA(shrink=0.6, uniform=True)"), part(data, NAMES[4:])
    )
    kept = grown.summary_statistics
    for at in range(0, len(kept.y), 61):
        own = np.flatnonzero((data.x == kept.x[at]).all(1))[0]
        want = head.fit(data.take(np.arange(len(data)) != own)).logits(kept.x[at : at + 1])[0]
        got = kept.logits[at]
        np.testing.assert_allclose(got - got[0], want - want[0], rtol=0.03, atol=0.03)


def test_only_rows_that_someone_else_answered_for_are_kept():
    data = world(n=60, k=3)
    tested = np.arange(60) % 3 > 0
    logits = np.where(tested[:, None], np.arange(60.0)[:, None], np.nan)
    kept = SummaryStatistics.from_data(data, logits, tested, np.zeros(60))
    assert len(kept.y) == 40
    assert np.isfinite(kept.logits).all()
    np.testing.assert_array_equal(data.x[kept.logits[:, 0].astype(int)], kept.x)
    far = np.where(np.arange(60) % 2, np.nan, 0.0)
    assert np.isfinite(SummaryStatistics.from_data(data, logits, tested, far).unknown_score).all()


def test_what_is_kept_is_drawn_from_all_of_a_class_and_not_its_first_files(monkeypatch):
    monkeypatch.setattr(keeping, "MAX_ROWS", 30)
    y = np.zeros(300, int)
    x = np.arange(300, dtype=np.float32)[:, None]
    kept = SummaryStatistics.from_data(
        Data(x, y, ("a",)), np.zeros((300, 1)), np.ones(300, bool), np.zeros(300)
    )
    assert 100 < kept.x.mean() < 200


def test_wide_features_keep_fewer_rows(monkeypatch):
    monkeypatch.setattr(keeping, "MAX_VALUES", 8 * 40)
    data = world(n=400)
    kept = SummaryStatistics.from_data(data, np.zeros((400, 6)), np.ones(400, bool), np.zeros(400))
    assert kept.x.size <= 8 * (40 + 6)
