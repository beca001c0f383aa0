"""A classifier that grows: as if all had been learnt at once, where mathematics says so."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from ilk import artefact, packed
from ilk.bench._saved import Material
from ilk.classifier import Classifier, load
from ilk.data import Data
from ilk.errors import ArtefactError, InputError
from ilk.living.growing import grow
from ilk.living.widened import Rows, Widened, held_out
from ilk.maths.gaussian import class_statistics, covariance
from ilk.methods import parse
from ilk.methods.gda import GDA
from ilk.methods.nearest_mean import NearestClassMean
from ilk.trust import kept as keeping
from ilk.trust import left_out
from ilk.trust.calibrate import Calibration
from ilk.trust.conformal import NEVER, Sets
from ilk.trust.kept import Kept, drawn, first
from ilk.trust.shares import Shares

HEADS = ("GDA()", "StreamingGDA()", "NearestClassMean()", "LogisticRegression(C=1.0)", "KNearest()")
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
    rows = data.only(names)
    to = np.array([names.index(c) if c in names else -1 for c in data.classes])
    return Data(rows.x, to[rows.y], tuple(names))


def fitted(data, method="GDA()"):
    return Material.of(data).learnt(parse(method))


def by_name(classifier, x):
    """Probabilities with columns in the order of the alphabet."""
    p = classifier.judge(x).probabilities
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
    grown, growth = grow(fitted(part(data, NAMES[:4]), method), part(data, NAMES[4:]))
    batch = parse(method).fit(data)
    ours, theirs = grown.model.logits(data.x), batch.logits(data.x)
    np.testing.assert_allclose(ours - ours[:, :1], theirs - theirs[:, :1], rtol=2e-5, atol=2e-4)
    assert grown.classes == NAMES
    before = fitted(part(data, NAMES[:4]), method).model.logits(data.x)
    old = data.y < 4
    change = (theirs[:, :4] - before)[old]
    assert growth.moved == pytest.approx(np.ptp(change, axis=1).max(), rel=1e-3)


def test_streaming_gda_after_adding_is_that_of_all_rows_to_rounding(data, base):
    grown, _ = grow(base["StreamingGDA()"], part(data, NAMES[4:]))
    batch = parse("StreamingGDA()").fit(data)
    np.testing.assert_allclose(grown.model.logits(data.x), batch.logits(data.x), rtol=0, atol=1e-8)


def test_nearest_mean_gets_the_mean_of_unit_rows_and_keeps_the_others_to_the_bit(data, base):
    before = base["NearestClassMean()"]
    added = part(data, ["elk"])
    grown, growth = grow(before, added)
    old, new = before.model, grown.model
    np.testing.assert_array_equal(new.logits(data.x)[:, :4], old.logits(data.x))
    assert growth.moved == 0
    u = added.x.astype(float) - old.centre
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    np.testing.assert_allclose(new.weight[4], old.sharp * u.mean(0), rtol=1e-5)
    assert new.bias[4] == pytest.approx(-old.sharp / 2 * np.sum(u.mean(0) ** 2), rel=1e-5)


def test_neighbours_after_adding_are_those_of_all_rows(data, base):
    grown, _ = grow(base["KNearest()"], part(data, NAMES[4:]))
    whole = parse(f"KNearest(k={grown.model.k})").fit(data)
    np.testing.assert_allclose(grown.model.logits(data.x + 0.1), whole.logits(data.x + 0.1))


def test_another_head_keeps_its_logits_and_the_new_class_gets_what_the_gaussians_say(data, base):
    before = base["LogisticRegression(C=1.0)"]
    grown, growth = grow(before, part(data, NAMES[4:]))
    model, x = grown.model, data.x
    assert isinstance(model, Widened)
    np.testing.assert_array_equal(model.logits(x)[:, :4], before.model.logits(x))
    assert growth.moved == 0
    assert model.sharp == before.calibration.temperature
    # A second derivation: mix the head's own probabilities and the Gaussians' by total probability.
    z = before.model.logits(x) / model.sharp
    head = np.exp(z - z.max(1, keepdims=True))
    head /= head.sum(1, keepdims=True)
    stats = class_statistics(x, data.y, 6)
    near = np.linalg.inv(covariance(stats))
    off = x[:, None].astype(float) - stats.means
    g = -0.5 * np.einsum("nkd,de,nke->nk", off, near, off) + np.log(stats.counts / stats.n)
    g = np.exp((g - g.max(1, keepdims=True)) / model.heat)
    g /= g.sum(1, keepdims=True)
    want = np.hstack([head * g[:, :4].sum(1, keepdims=True), g[:, 4:]])
    got = np.exp(model.logits(x) / model.sharp)
    np.testing.assert_allclose(got / got.sum(1, keepdims=True), want, atol=2e-4)


@pytest.mark.parametrize("head", HEADS)
def test_the_order_of_adding_does_not_matter(data, base, head):
    one, two = part(data, ["elk"]), part(data, ["fox"])
    there = grow(grow(base[head], one)[0], two)[0]
    back = grow(grow(base[head], two)[0], one)[0]
    both = grow(base[head], part(data, ["elk", "fox"]))[0]
    x = world(seed=5).x
    np.testing.assert_allclose(by_name(there, x), by_name(both, x), atol=2e-4)
    np.testing.assert_allclose(by_name(back, x), by_name(both, x), atol=2e-4)
    assert back.sets.threshold == pytest.approx(both.sets.threshold, abs=2e-3)
    assert back.unknown.threshold == pytest.approx(both.unknown.threshold, rel=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_a_grown_classifier_names_new_and_old_rows_with_true_probabilities(data, base, head):
    grown, growth = grow(base[head], part(data, NAMES[4:]))
    new = world(n=3000, seed=7)
    judged = grown.judge(new.x)
    right = judged.probabilities.argmax(1) == new.y
    refit = fitted(data, head).judge(new.x).probabilities.argmax(1) == new.y
    assert right.mean() > refit.mean() - 0.02
    assert right[new.y >= 4].mean() > refit[new.y >= 4].mean() - 0.07
    assert abs(judged.probabilities.max(1).mean() - right.mean()) < 0.05
    covered = judged.sets[np.arange(len(new)), new.y]
    assert abs(covered.mean() - 0.9) < 0.05
    assert judged.unknown.mean() < 0.1
    assert growth.old_same is not None
    assert growth.old_same > 0.75
    for name in ("elk", "fox"):
        own = growth.found[name]
        assert own is not None
        assert abs(own - right[new.y == NAMES.index(name)].mean()) < 0.3


def test_the_sense_of_the_unknown_knows_the_new_class(base):
    rng = np.random.default_rng(3)
    far = Data((rng.standard_normal((60, 8)) - 12).astype(np.float32), np.zeros(60, int), ("owl",))
    assert base["GDA()"].unknown.flag(far.x).all()
    grown, _ = grow(base["GDA()"], far)
    assert grown.unknown.flag((rng.standard_normal((200, 8)) - 12).astype(np.float32)).mean() < 0.15
    assert grown.unknown.threshold < 1.5 * base["GDA()"].unknown.threshold
    assert grown.unknown.flag((rng.standard_normal((50, 8)) + 40).astype(np.float32)).all()


@pytest.mark.parametrize("n", [12, 200])
def test_a_mean_more_leaves_every_old_distance(n):
    """With few rows the new mean lies outside of what they span; with many it cannot."""
    from ilk.trust.unknown import gaussian

    rng = np.random.default_rng(0)
    data = Data(rng.standard_normal((n, 20)).astype(np.float32), np.arange(n) % 3, NAMES[:3])
    before = gaussian(data)
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
    begun = fitted(data.rows(half))
    grown, _ = grow(begun, data.rows(~half), more=True)
    ours, theirs = grown.model.logits(data.x), GDA().fit(data).logits(data.x)
    np.testing.assert_allclose(ours - ours[:, :1], theirs - theirs[:, :1], rtol=2e-5, atol=2e-4)
    np.testing.assert_array_equal(grown.kept.counts, data.counts())


def test_more_rows_of_a_class_that_came_later_and_none_of_one_that_was_fitted(data, base):
    before = base["LogisticRegression(C=1.0)"]
    elk = part(data, ["elk"])
    once, _ = grow(before, elk)
    parts = grow(before, elk.rows(slice_of(elk, 0)))[0]
    parts, _ = grow(parts, elk.rows(slice_of(elk, 1)), more=True)
    np.testing.assert_allclose(parts.model.weight, once.model.weight, atol=1e-4)
    with pytest.raises(InputError, match="learnt together with the other classes by Logistic"):
        grow(once, part(data, ["ant"]), more=True)


def slice_of(data, which):
    return np.arange(len(data)) % 2 == which


# What is said of rows that were learnt from


@pytest.mark.parametrize("shrink", [None, 0.4, "oas"])
@pytest.mark.parametrize("uniform", [False, True])
def test_left_out_rows_are_answered_as_by_a_rule_made_without_them(shrink, uniform):
    """Against fits without the row, with the covariance's shrinkage held where it was."""
    data = world(n=90, d=5, k=3, seed=2)
    stats = class_statistics(data.x, data.y, 3)
    got = left_out.gaussian(stats, data.x, data.y, shrink, uniform)
    whole = covariance(stats, shrink)
    weight = left_out._scatter_weight(stats, shrink)
    for i in range(0, 90, 7):
        rest = np.arange(90) != i
        less = class_statistics(data.x[rest], data.y[rest], 3)
        near = np.linalg.inv(whole + weight * (less.scatter - stats.scatter))
        off = data.x[i].astype(float) - less.means
        want = -0.5 * np.einsum("kd,de,ke->k", off, near, off)
        want += 0 if uniform else np.log(less.counts)
        np.testing.assert_allclose(got[i] - got[i, 0], want - want[0], rtol=3e-6, atol=1e-5)


def test_left_out_rows_are_answered_as_by_gda_fitted_without_them_but_for_one_in_n():
    data = world(n=150, d=5, k=3, seed=4)
    got = left_out.gaussian(class_statistics(data.x, data.y, 3), data.x, data.y)
    for i in range(0, 150, 31):
        want = GDA().fit(data.rows(np.arange(150) != i)).logits(data.x[i : i + 1])[0]
        np.testing.assert_allclose(got[i] - got[i, 0], want - want[0], rtol=0.02, atol=0.02)


def test_left_out_nearest_means():
    data = world(n=60, d=5, k=3, seed=2)
    means = np.stack([data.x[data.y == c].mean(0, dtype=float) for c in range(3)])
    got = left_out.nearest(data.x.astype(float), data.y, means, data.counts(), 2.0)
    for i in range(0, 60, 11):
        rest = np.arange(60) != i
        own = [data.x[rest & (data.y == c)].mean(0, dtype=float) for c in range(3)]
        want = -np.sum((data.x[i] - np.stack(own)) ** 2, axis=1)
        np.testing.assert_allclose(got[i] - got[i, 0], want - want[0], atol=1e-6)


def test_left_out_neighbours(data, base):
    model = base["KNearest()"].model
    rows = part(data, NAMES[:4])
    held = Rows(rows.x, rows.y, np.zeros((len(rows), 4)), np.zeros(len(rows)))
    got = held_out(model, parse("KNearest()"), class_statistics(rows.x, rows.y, 4), held)
    for i in range(0, len(rows), 53):
        rest = np.arange(len(rows)) != i
        want = parse(f"KNearest(k={model.k})").fit(rows.rows(rest)).logits(rows.x[i : i + 1])
        np.testing.assert_allclose(got[i], want[0])


# What is kept


def test_what_is_kept_is_bounded_and_grows_thinner_from_the_end(monkeypatch):
    monkeypatch.setattr(keeping, "ROWS", 50)
    data = world(n=400)
    kept = Kept.of(data, np.zeros((400, 6)), np.ones(400, bool), np.zeros(400))
    assert len(kept.y) <= 50 + 6
    np.testing.assert_array_equal(np.bincount(kept.y), np.ceil(50 / 400 * data.counts()))
    order = drawn(data.y)
    few = first(data.y[order], data.counts() * 3, 8)
    many = first(data.y[order], data.counts(), 8)
    assert set(few) <= set(many)


def test_statistics_come_back_whole(data):
    stats = class_statistics(data.x, data.y, 6)
    kept = Kept.of(data, np.zeros((len(data), 6)), np.ones(len(data), bool), np.zeros(len(data)))
    np.testing.assert_array_equal(
        kept.statistics.scatter, np.tril(stats.scatter) + np.tril(stats.scatter, -1).T
    )
    np.testing.assert_array_equal(kept.statistics.means, stats.means)


@pytest.mark.parametrize("head", HEADS)
def test_added_saved_opened_and_added_again(data, base, head, tmp_path):
    once = grow(base[head], part(data, ["elk"]))[0]
    again = load(once.save(tmp_path / "kinds"))
    np.testing.assert_array_equal(by_name(again, data.x), by_name(once, data.x))
    twice = grow(again, part(data, ["fox"]))[0]
    straight = grow(once, part(data, ["fox"]))[0]
    np.testing.assert_allclose(by_name(twice, data.x), by_name(straight, data.x), atol=1e-5)
    assert [list(g["images"]) for g in twice.about["grown"]] == [["elk"], ["fox"]]
    assert twice.about["thresholds"]["set"] == twice.sets.threshold


def test_a_folder_is_whole_whenever_the_writing_stops(data, base, tmp_path, monkeypatch):
    home = base["GDA()"].save(tmp_path / "kinds")
    grown, _ = grow(load(home), part(data, ["elk"]))
    write = artefact.write_file

    def stops(path, content):
        if path.name == artefact.ABOUT:
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(artefact, "write_file", stops)
    with pytest.raises(KeyboardInterrupt):
        grown.save(home)
    monkeypatch.undo()
    assert load(home).classes == NAMES[:4]
    for names in (NAMES[:5], NAMES[:5]):
        grown.save(home)
        assert load(home).classes == names
        assert len(list(home.glob("*.safetensors"))) == 1


def test_a_folder_of_the_first_version_opens_and_says_that_it_cannot_grow(data, base, tmp_path):
    home = replace(base["GDA()"], kept=None).save(tmp_path / "kinds")
    about = json.loads((home / artefact.ABOUT).read_text()) | {"version": 1}
    about["digest"] = artefact.digest(about)
    (home / artefact.ABOUT).write_text(json.dumps(about))
    old = load(home)
    np.testing.assert_array_equal(by_name(old, data.x), by_name(base["GDA()"], data.x))
    with pytest.raises(InputError, match=r"keeps no statistics to grow by .* ilk fit"):
        grow(old, part(data, ["elk"]))


def test_a_part_within_a_part_is_checked_like_any_other(data, base, tmp_path):
    grown, _ = grow(base["LogisticRegression(C=1.0)"], part(data, ["elk"]))
    home = grown.save(tmp_path / "kinds")
    weights, about = artefact.read(home)
    assert hashlib.sha256(weights).hexdigest() == about["weights"]["sha256"]
    about["parts"]["model"]["base"]["form"] = "os:system"
    with pytest.raises(ArtefactError, match="no part of ilk"):
        packed.unpack(weights, about["parts"])


# What cannot be done


def test_bad_input_is_one_sentence(data, base):
    gda, elk = base["GDA()"], part(data, ["elk"])
    nothing = Data(np.zeros((0, 8), np.float32), np.zeros(0, int), ("elk",))
    cases = {
        "knows 'ant' already, from .* images; .*--more": part(data, ["ant"]),
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
            grow(gda, added)
    assert gda.classes == NAMES[:4]


def test_a_class_that_looks_like_an_old_one_is_refused_unless_told(data, base):
    rows = part(world(seed=11), ["bee"])
    same = replace(rows, classes=("wasp",))
    for head in HEADS:
        with pytest.raises(InputError, match="'wasp' cannot be told from 'bee'"):
            grow(base[head], same)
    grown, growth = grow(base["GDA()"], same, anyway=True)
    assert grown.classes[-1] == "wasp"
    assert abs(growth.alike[0].auc - 0.5) < 0.1


def test_one_row_is_enough_and_what_is_not_known_is_not_told(data, base):
    one = Data(part(data, ["elk"]).x[:1] + 4, np.zeros(1, int), ("elk",))
    for head in HEADS:
        grown, growth = grow(base[head], one)
        assert growth.found == {"elk": None}
        p = grown.judge(np.vstack([one.x, data.x])).probabilities
        assert p[0].argmax() == 4 or head == "KNearest()"  # where one row is outvoted
        assert np.isfinite(p).all()


def test_with_nothing_held_out_it_still_grows():
    data = world(n=40)
    single = data.rows([int(np.flatnonzero(data.y == c)[0]) for c in range(4)])
    single = Data(single.x, single.y, NAMES[:4])
    blank = np.zeros((4, 4)), np.zeros(4, bool), np.full(4, np.nan)
    material = Material.of(part(data, NAMES[:4])).learnt(NearestClassMean())
    bare = replace(material, model=NearestClassMean().fit(single), kept=Kept.of(single, *blank))
    grown, growth = grow(bare, part(data, ["elk"]).rows([0]))
    assert grown.classes == NAMES[:5]
    assert growth.old_same is None


# Sets under weights


def test_weights_that_are_all_alike_change_no_set():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), 200)
    y, ties = rng.integers(0, 4, 200), rng.random(200)
    for level in (0.5, 0.9, 0.99, 0.999):
        for tie in (None, ties):
            plain = Sets.fit(p, y, level, tie)
            weighted = Sets.fit(p, y, level, tie, np.full(200, 3.0))
            assert (weighted.threshold, weighted.tie) == (plain.threshold, plain.tie)
    assert Sets.fit(p[:5], y[:5], 0.9).threshold == 0
    assert Sets.fit(p[:0], y[:0], 0.9).tie == NEVER


def test_sets_cover_where_the_weights_say():
    rng = np.random.default_rng(1)

    def draw(shares, n):
        y = rng.choice(3, n, p=shares)
        z = rng.standard_normal((n, 3)) + np.eye(3)[y] * np.array([3.0, 2.0, 1.0])
        return np.exp(z) / np.exp(z).sum(1, keepdims=True), y

    learnt, now = np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.2, 0.7])
    p, y = draw(learnt, 4000)
    plain, followed = Sets.fit(p, y, 0.9), Sets.fit(p, y, 0.9, None, (now / learnt)[y])
    q, truth = draw(now, 4000)
    rows = np.arange(4000)
    assert plain.contains(q)[rows, truth].mean() < 0.85
    assert abs(followed.contains(q)[rows, truth].mean() - 0.9) < 0.03


def test_classifier_is_the_same_object_before_and_after(data, base):
    gda: Classifier = base["GDA()"]
    before = by_name(gda, data.x)
    grow(gda, part(data, ["elk"]))
    np.testing.assert_array_equal(by_name(gda, data.x), before)


def test_an_added_row_is_as_far_as_from_means_made_without_it(data, base):
    """From the nearest of all means, old ones too; with few rows, one row moves its mean far."""
    before, late = base["GDA()"], world(seed=11)
    x = np.concatenate([late.x[late.y == 0][:4], late.x[late.y == 4][:4]])
    grown, _ = grow(before, Data(x, np.zeros(8, int), ("owl",)), anyway=True)
    kept = grown.kept
    old = 0
    for row, far in zip(kept.x[kept.y == 4], kept.distance[kept.y == 4], strict=True):
        rest = x[(x != row).any(1)].mean(0, dtype=float)
        want = before.unknown.with_mean(rest, 4).score(row[None])[0]
        assert far == pytest.approx(want, rel=1e-3)
        old += want == before.unknown.score(row[None])[0]
    assert 0 < old < 8  # some are nearest to an old mean, some to their own


def test_the_threshold_of_the_unknown_is_made_anew(data, base):
    before = base["GDA()"]
    grown, _ = grow(before, part(data, NAMES[4:]))
    far = np.sort(grown.kept.distance)
    rank = int(np.ceil(0.95 * (len(far) + 1)))
    assert grown.unknown.threshold == far[rank - 1] != before.unknown.threshold
    assert grown.unknown.rows == len(far)


def test_sets_of_a_follower_that_grew_hold_under_the_shares_it_follows(data, base):
    before = base["GDA()"]
    now = np.array([0.05, 0.05, 0.1, 0.8])
    followed = replace(before, shares=Shares(before.kept.counts / before.kept.counts.sum(), now))
    grown, _ = grow(followed, part(data, ["elk"]))
    p, kept = grown.probabilities(grown.kept.logits), grown.kept
    want = Sets.fit(p, kept.y, 0.9, kept.distance, grown.shares.ratio[kept.y])
    assert (grown.sets.threshold, grown.sets.tie) == (
        pytest.approx(want.threshold, abs=1e-5),
        want.tie,
    )
    plain = Sets.fit(p, kept.y, 0.9, kept.distance)
    assert want.threshold != pytest.approx(plain.threshold, abs=1e-3)


def test_more_rows_go_to_the_mean_of_their_class_though_another_class_has_none(data):
    """A class that is named and has no row has no mean."""
    rows = part(data, NAMES[:4])
    gap = fitted(Data(rows.x, np.where(rows.y > 0, rows.y + 1, 0), ("ant", "ape", *NAMES[1:4])))
    more = part(data, ["dog"])
    grown, _ = grow(gap, Data(more.x + 3, more.y, ("dog",)), more=True)
    was, now = gap.unknown.means, grown.unknown.means
    moved = np.abs(now - was).max(1) > 1e-3
    np.testing.assert_array_equal(moved, [False, False, False, True])


def test_a_new_class_beside_more_rows_is_looked_at_all_the_same(data, base):
    same = replace(part(world(seed=11), ["bee"]), classes=("wasp",))
    with pytest.raises(InputError, match="'wasp' cannot be told from 'bee'"):
        grow(base["GDA()"], same, more=True)


def test_the_heat_is_what_fits_without_the_row_are_to_be_divided_by(data):
    """Rows with heavy tails, so that it is not 1; against one fit a row."""
    rng = np.random.default_rng(2)
    x = (data.x + 0.7 * rng.standard_t(2, data.x.shape)).astype(np.float32)
    heavy = Data(x, data.y, data.classes)
    begun = fitted(part(heavy, NAMES[:4]), "LogisticRegression(C=1.0)")
    grown, _ = grow(begun, part(heavy, NAMES[4:]), anyway=True)
    z = [
        GDA().fit(heavy.rows(np.arange(len(x)) != i)).logits(x[i : i + 1])[0] for i in range(len(x))
    ]
    want = Calibration.fit(np.array(z), heavy.y).temperature
    assert grown.model.heat == pytest.approx(want, rel=0.03)
    assert abs(want - 1) > 0.1


def test_what_is_kept_of_old_rows_is_said_by_the_rule_of_the_head_itself(data):
    """Its own shrinkage and its own prior, on a fit without the row."""
    head = parse("GDA(shrink=0.6, uniform=True)")
    grown, _ = grow(
        fitted(part(data, NAMES[:4]), "GDA(shrink=0.6, uniform=True)"), part(data, NAMES[4:])
    )
    kept = grown.kept
    for at in range(0, len(kept.y), 61):
        own = np.flatnonzero((data.x == kept.x[at]).all(1))[0]
        want = head.fit(data.rows(np.arange(len(data)) != own)).logits(kept.x[at : at + 1])[0]
        got = kept.logits[at]
        np.testing.assert_allclose(got - got[0], want - want[0], rtol=0.03, atol=0.03)


def test_only_rows_that_someone_else_answered_for_are_kept():
    data = world(n=60, k=3)
    tested = np.arange(60) % 3 > 0
    logits = np.where(tested[:, None], np.arange(60.0)[:, None], np.nan)
    kept = Kept.of(data, logits, tested, np.zeros(60))
    assert len(kept.y) == 40
    assert np.isfinite(kept.logits).all()
    np.testing.assert_array_equal(data.x[kept.logits[:, 0].astype(int)], kept.x)
    far = np.where(np.arange(60) % 2, np.nan, 0.0)
    assert np.isfinite(Kept.of(data, logits, tested, far).distance).all()


def test_what_is_kept_is_drawn_from_all_of_a_class_and_not_its_first_files(monkeypatch):
    monkeypatch.setattr(keeping, "ROWS", 30)
    y = np.zeros(300, int)
    x = np.arange(300, dtype=np.float32)[:, None]
    kept = Kept.of(Data(x, y, ("a",)), np.zeros((300, 1)), np.ones(300, bool), np.zeros(300))
    assert 100 < kept.x.mean() < 200


def test_wide_features_keep_fewer_rows(monkeypatch):
    monkeypatch.setattr(keeping, "FLOATS", 8 * 40)
    data = world(n=400)
    kept = Kept.of(data, np.zeros((400, 6)), np.ones(400, bool), np.zeros(400))
    assert kept.x.size <= 8 * (40 + 6)
