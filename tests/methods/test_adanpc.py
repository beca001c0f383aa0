"""The vote against a loop and scikit-learn; which rows are admitted and which are rejected."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from ilk.core import neighbour_memory
from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.core.metrics import softmax
from ilk.methods.adanpc import AdaNPC
from ilk.transduction import stream_checks as drift

NAMES = ("a", "b", "c")


def blobs(n=90, d=5, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    x = 1.5 * np.random.default_rng(9).standard_normal((3, d))[y] + rng.standard_normal((n, d))
    return Data(x.astype(np.float32), y, NAMES)


def loop(data, x, k, temperature):
    """s, one query and one neighbour at a time."""
    centre = data.x.mean(0, dtype=np.float64)
    unit = lambda v: (v - centre) / np.linalg.norm(v - centre)  # noqa: E731
    out = np.zeros((len(x), data.k))
    for i, query in enumerate(x.astype(np.float64)):
        cosine = np.array([unit(query) @ unit(row.astype(np.float64)) for row in data.x])
        near = np.argsort(-cosine)[:k]
        weight = np.exp(cosine[near] / temperature)
        for j, w in zip(near, weight / weight.sum(), strict=True):
            out[i, data.y[j]] += w
    return out


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.05), (7, 0.05), (30, 0.5)])
def test_votes_are_those_of_a_loop_and_logits_spread_one_vote(k, temperature):
    data, new = blobs(), blobs(20, seed=1).x
    model = AdaNPC(k=k, temperature=temperature).fit(data)
    s = loop(data, new, k, temperature)
    np.testing.assert_allclose(model.compute_votes(model.compute_cosines(new)), s, atol=1e-5)
    np.testing.assert_allclose(np.exp(model.logits(new)), (k * s + 1 / 3) / (k + 1), atol=1e-5)


def test_hot_votes_are_scikit_learns_under_the_cosine():
    data, new = blobs(), blobs(40, seed=1).x
    centre = data.x.mean(0)
    theirs = KNeighborsClassifier(9, metric="cosine", algorithm="brute")
    theirs.fit(data.x - centre, data.y)
    model = AdaNPC(k=9, temperature=1e6).fit(data)
    share = theirs.predict_proba(new - centre)
    np.testing.assert_allclose(model.compute_votes(model.compute_cosines(new)), share, atol=1e-4)


def test_confident_rows_are_admitted_with_predicted_labels_and_the_initial_memory_is_unchanged():
    data, new = blobs(), blobs(40, seed=1).x
    method = AdaNPC(k=5, min_confidence=0.7, max_accuracy_drop=None)
    model = method.fit(data)
    logits, after = method.adapt(model, new)
    np.testing.assert_array_equal(logits, model.logits(new))
    s = loop(data, new, 5, 0.05)
    sure = s.max(1) >= 0.7
    assert 0 < sure.sum() < 40
    assert len(model.rows) == len(data)
    assert len(after.rows) == len(data) + sure.sum()
    np.testing.assert_array_equal(after.y[len(data) :], s.argmax(1)[sure])
    np.testing.assert_allclose(after.rows[len(data) :], model.normalize(new)[sure], atol=1e-6)


def test_later_predictions_match_a_memory_of_all_rows():
    data, new = blobs(), blobs(60, seed=1).x
    method = AdaNPC(k=5, min_confidence=0.0, max_accuracy_drop=None)
    _, after = method.adapt(method.fit(data), new[:40])
    whole = Data(np.concatenate([data.x, new[:40]]), after.y, NAMES)
    model = replace(after, rows=after.rows)
    fresh = loop_with(data, whole, new[40:])
    np.testing.assert_allclose(
        model.compute_votes(model.compute_cosines(new[40:])), fresh, atol=1e-5
    )


def loop_with(data, whole, x):
    """The loop over `whole`, directions from the centre of `data`."""
    centre = data.x.mean(0, dtype=np.float64)
    unit = lambda v: (v - centre) / np.linalg.norm(v - centre)  # noqa: E731
    out = np.zeros((len(x), 3))
    for i, query in enumerate(x):
        cosine = np.array([unit(query) @ unit(row) for row in whole.x])
        near = np.argsort(-cosine)[:5]
        weight = np.exp(cosine[near] / 0.05)
        np.add.at(out[i], whole.y[near], weight / weight.sum())
    return out


def test_memory_is_capped_and_the_oldest_row_is_evicted():
    data = blobs()
    method = AdaNPC(min_confidence=0.0, max_added=10, max_accuracy_drop=None)
    model = method.fit(data)
    for at in range(3):
        batch = blobs(7, seed=2 + at).x
        _, model = method.adapt(model, batch)
    assert len(model.rows) == len(model.y) == len(model.initial_predictions) == len(data) + 10
    np.testing.assert_allclose(model.rows[-7:], model.normalize(batch), atol=1e-6)
    np.testing.assert_array_equal(model.rows[: len(data)], method.fit(data).rows)


def test_no_row_is_admitted_when_none_is_confident():
    data = blobs()
    method = AdaNPC(min_confidence=1.01, max_accuracy_drop=None)
    assert len(method.adapt(method.fit(data), data.x)[1].rows) == len(data)


def circle(degrees, n=60, seed=0):
    """Two arcs opposite each other, rotated."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    angle = np.radians(degrees) + np.pi * y + 0.25 * rng.standard_normal(n)
    return Data(np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32), y, ("a", "b"))


def wander(method, model, angles):
    right = []
    for i, angle in enumerate(angles):
        part = circle(angle, 100, seed=10 + i)
        logits, model = method.adapt(model, part.x)
        right.append(np.mean(logits.argmax(1) == part.y))
    return np.array(right), model


def test_gradual_rotation_is_tracked_where_the_initial_memory_fails():
    method = AdaNPC(k=5)
    start = method.fit(circle(0, 200))
    right, model = wander(method, start, range(0, 103, 3))
    assert right.min() > 0.95
    assert np.mean(start.logits(circle(102).x).argmax(1) == circle(102).y) < 0.4
    assert len(model.rows) > len(start.rows)


def test_an_abrupt_shift_is_not_tracked():
    method = AdaNPC(k=5)
    start = method.fit(circle(0, 200))
    _, model = method.adapt(start, circle(80, seed=1).x)
    assert len(model.rows) == len(start.rows)
    assert "are far from all known rows" in model.message
    for seed in (2, 3):  # back again, but recent rows still include the jump at first
        assert model.message
        _, model = method.adapt(model, circle(0, seed=seed).x)
    assert model.message == ""
    assert len(model.rows) > len(start.rows)


def test_a_single_class_stream_admits_nothing_and_gives_the_reason():
    method = AdaNPC(k=5)
    start = method.fit(circle(0, 200))
    part = circle(0, 300, seed=1)
    lone = part.x[part.y == 1]
    logits, model = method.adapt(start, lone)
    assert np.mean(logits.argmax(1) == 1) == 1
    assert len(model.rows) == len(start.rows)
    assert "have the same prediction, which may be a collapse" in model.message


def test_single_row_batches_are_checked_together():
    method = AdaNPC(k=5)
    start = model = method.fit(circle(0, 200))
    part, messages = circle(0, 40, seed=1), []
    for row in part.x:
        _, model = method.adapt(model, row[None])
        messages.append(model.message)
    assert all("rows so far; 16 are needed" in message for message in messages[:15])
    assert set(messages[15:]) == {""}
    assert len(model.rows) == len(start.rows) + 25
    _, model = method.adapt(model, circle(80, 1, seed=2).x)
    assert model.message == ""  # one outlier among the last 32 rows is not a jump


def test_a_memory_that_forgets_its_training_rows_is_rolled_back():
    data = circle(0, 200)
    method = AdaNPC(k=5, max_accuracy_drop=0.02)
    before = method.adapt(method.fit(data), circle(0, seed=1).x)[1]
    wrong = before.rows[:60] + 1e-4
    after = method._add_rows(before, wrong, 1 - before.y[:60], 1 - before.y[:60])
    result = method._apply_guard(before, after, 60)
    assert "the accuracy on training rows would drop by" in result.message
    np.testing.assert_array_equal(result.rows, before.rows)
    admitted = AdaNPC(k=5, max_accuracy_drop=0.9)._apply_guard(before, after, 60)
    assert admitted.message == ""
    np.testing.assert_array_equal(admitted.rows, after.rows)


def test_admitted_rows_are_removed_when_one_class_dominates():
    method = AdaNPC(k=5)
    before = method.adapt(method.fit(circle(0, 200)), circle(0, seed=1).x)[1]
    part = circle(0, 200, seed=2)
    after = method._add_rows(before, before.normalize(part.x), np.ones(200, np.int64), part.y)
    result = method._apply_guard(before, after, 60)
    assert "all admitted rows were removed" in result.message
    assert len(result.rows) == result.n_train == 200
    assert len(before.rows) > 200


def test_similarity_of_training_rows_excludes_the_row_itself():
    data = blobs()
    model = AdaNPC().fit(data)
    u = model.normalize(data.x)
    expected = [np.sort(np.delete(u @ row, i))[-5:].mean() for i, row in enumerate(u)]
    assert model.min_similarity == pytest.approx(np.quantile(expected, 0.05), abs=1e-5)
    answers = [softmax(loop_without(data, i), axis=0).argmax() for i in range(len(data))]
    assert model.initial_accuracy == pytest.approx(np.mean(answers == data.y), abs=1e-9)


def loop_without(data, i):
    centre = data.x.mean(0, dtype=np.float64)
    u = (data.x - centre) / np.linalg.norm(data.x - centre, axis=1, keepdims=True)
    cosine = u @ u[i]
    cosine[i] = -2
    near = np.argsort(-cosine)[:20]
    votes = np.zeros(3)
    np.add.at(votes, data.y[near], np.exp((cosine[near] - 1) / 0.05))
    return votes / votes.sum()


def test_adapting_costs_at_most_one_point_on_rotated_or_corrupted_digits():
    bunch = load_digits()
    x, y = (bunch.images / 16).astype(np.float32), bunch.target
    rng = np.random.default_rng(0)
    order = rng.permutation(len(x))
    names = tuple(map(str, range(10)))
    flat = lambda images: images.reshape(len(images), -1).astype(np.float32)  # noqa: E731
    source = Data(flat(x[order[:600]]), y[order[:600]], names)
    rest, truth = x[order[600:1200]], y[order[600:1200]]
    turn = lambda a: ndimage.rotate(rest, a, axes=(1, 2), reshape=False, order=1)  # noqa: E731
    worlds = {
        "turned by 90": turn(90),
        "turned by 40": turn(40),
        "negative": 1 - rest,
        "noisy": rest + 0.6 * rng.standard_normal(rest.shape),
        "faint": 0.2 * rest,
        "shifted": np.roll(rest, 2, axis=2),
        "as it was": rest,
    }
    method = AdaNPC()
    start = method.fit(source)
    for name, images in worlds.items():
        model, stream, hits = start, flat(images), 0
        for at in range(0, len(stream), 32):
            logits, model = method.adapt(model, stream[at : at + 32])
            hits += np.sum(logits.argmax(1) == truth[at : at + 32])
        was = np.mean(start.logits(stream).argmax(1) == truth)
        assert hits / len(truth) > was - 0.01, name
        assert np.mean(model.logits(stream).argmax(1) == truth) > was - 0.01, name


def test_other_features_and_invalid_fields_raise():
    method = AdaNPC()
    model = method.fit(blobs())
    with pytest.raises(InputError, match=r"has rows of 5 features; encode them with the same"):
        method.adapt(model, np.zeros((4, 6), np.float32))
    with pytest.raises(ValueError, match="at least 1, at least 1 and above 0"):
        AdaNPC(k=0)
    with pytest.raises(ValueError, match="max_accuracy_drop is -1"):
        AdaNPC(max_accuracy_drop=-1)


def test_many_rows_are_scored_in_chunks(monkeypatch):
    model, x = AdaNPC().fit(blobs()), blobs(40, seed=1).x
    whole = model.logits(x)
    monkeypatch.setattr(neighbour_memory, "CHUNK_SIZE", 7)
    np.testing.assert_allclose(model.logits(x), whole, atol=1e-12)


def test_one_vote_is_spread_over_seen_classes_only_and_all_rows_may_vote():
    data, x = blobs(), blobs(20, seed=1).x
    wide = replace(data, y=data.y * 2, classes=tuple("abcde"))
    logits = AdaNPC(k=90, temperature=0.5).fit(wide).logits(x)
    share = (90 * loop(data, x, 90, 0.5) + 1 / 3) / 91
    np.testing.assert_allclose(np.exp(logits[:, ::2]), share, atol=1e-6)
    assert np.isneginf(logits[:, 1::2]).all()


def test_the_guard_uses_at_most_300_rows():
    assert len(set(AdaNPC().fit(circle(0, 400)).validation_rows)) == 300


def test_recent_predictions_and_those_of_the_initial_memory_are_stored():
    method = AdaNPC(k=5)
    start = method.fit(circle(0, 200))
    model = start
    for seed in (1, 2):
        logits, model = method.adapt(model, circle(0, 90, seed=seed).x)
    np.testing.assert_array_equal(model.recent_predictions[-90:], logits.argmax(1))
    assert len(model.recent_predictions) == len(model.recent_similarity) == 96
    model = wander(method, start, range(0, 103, 3))[1]
    late = model.rows[200:].astype(np.float64)
    first = start.compute_votes(late @ start.rows.T).argmax(1)
    assert np.mean(model.initial_predictions[200:] == first) > 0.99
    assert np.mean(model.initial_predictions[200:] == model.y[200:]) < 0.9


def test_a_batch_larger_than_the_window_is_checked_as_a_whole():
    method = AdaNPC(k=5)
    start = method.fit(circle(0, 200))
    x = np.concatenate([circle(80, 150, seed=1).x, circle(0, 150, seed=2).x])
    assert "50% of the last rows are far" in method.adapt(start, x)[1].message


def test_class_shares_are_compared_with_training_rows_and_not_admitted_rows():
    method = AdaNPC(k=5)
    start = method.fit(circle(0, 200))
    part = circle(0, 600, seed=1)
    ones, zeros = part.x[part.y == 1], part.x[part.y == 0]
    many = np.ones(150, np.int64)
    swollen = method._add_rows(start, start.normalize(ones[100:250]), many, many)
    uneven = np.concatenate([ones[:82], zeros[:18]])
    for model in (start, swollen):
        message = method.adapt(model, uneven)[1].message
        assert "82% of the last 100 rows have the same prediction" in message


def test_accuracy_on_training_rows_must_not_drop():
    method = AdaNPC(k=5)
    start = method.fit(circle(0, 200))
    worn = replace(
        start, initial_accuracy=start.initial_accuracy + 0.05
    )  # it has degraded since, batch by batch
    message = method.adapt(worn, circle(0, seed=1).x)[1].message
    assert message.startswith(
        "no row was admitted: the accuracy on training rows would drop by 5.0%"
    )


@pytest.mark.parametrize(
    ("far", "new", "fit"),
    [
        (slice(0, 26), 1, False),  # 27 % of all
        (slice(0, 22), 1, True),
        (slice(64, 74), 1, False),  # 31 % of the last 32
        (slice(32, 52), 64, False),  # 31 % of a batch of 64
        (slice(32, 52), 32, True),
    ],
)
def test_neither_all_the_last_rows_nor_the_batch_may_lie_far(far, new, fit):
    like = np.ones(96)
    like[far] = 0
    message = drift.explain_rejection(like, np.arange(96) % 2, (0.5, 0.5), new)
    assert (message == "") is fit


@pytest.mark.parametrize(
    ("ones", "largest", "fit"),
    [(66, 0.5, True), (67, 0.5, False), (86, 0.8, True), (87, 0.8, False), (100, 1.0, False)],
)
def test_an_answer_may_have_a_third_of_what_its_share_leaves_and_never_all(ones, largest, fit):
    predictions = (np.arange(100) < ones).astype(np.int64)
    assert (drift.explain_rejection(np.ones(100), predictions, (0.5, largest), 32) == "") is fit


def test_the_tilt_is_the_largest_gain_as_a_share_of_all():
    first = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2])
    now = np.array([0, 1, 1, 2, 1, 1, 2, 2, 2, 2])  # class 0 loses three, 1 gains two
    assert drift.max_class_gain(now, first) == pytest.approx(0.2)
    assert drift.max_class_gain(first, first) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_rows_do_not_disable_the_guard(value):
    method = AdaNPC(k=5)
    start = method.fit(circle(0, 200))
    x = circle(80, 100, seed=1).x.copy()
    x[0, 0] = value
    with pytest.raises(InputError, match="not finite"):
        method.adapt(start, x)


def test_unanimous_votes_have_full_confidence():
    rng = np.random.default_rng(0)
    means = 6 * rng.standard_normal((3, 5))
    y = rng.integers(0, 3, 400)
    x = (means[y] + rng.standard_normal((400, 5))).astype(np.float32)
    method = AdaNPC(k=50, min_confidence=1.0, max_accuracy_drop=None)
    start = method.fit(Data(x[:200], y[:200], ("a", "b", "c")))
    near = np.argsort(-start.compute_cosines(x[200:]), axis=1)[:, :50]
    same = (start.y[near] == start.y[near][:, :1]).all(1)
    assert same.sum() > 150
    assert len(method.adapt(start, x[200:])[1].rows) == 200 + same.sum()


def test_a_row_is_near_the_last_rows_by_their_own_limit():
    """Against a loop; among few rows the nearest are less similar than among many."""
    rng = np.random.default_rng(0)
    train, block, new = (v / np.linalg.norm(v, axis=1)[:, None] for v in (
        rng.standard_normal((60, 4)), rng.standard_normal((250, 4)) + 2,
        rng.standard_normal((30, 4)) + 2,
    ))  # fmt: skip
    top = lambda v: np.sort(v)[-5:].mean()  # noqa: E731
    last = block[-200:]
    limit = np.quantile([top(np.delete(last @ row, i)) for i, row in enumerate(last)], 0.05)
    expected = [max(top(np.r_[train, block] @ u) - 0.9, top(last @ u) - limit) for u in new]
    cosines = new @ np.r_[train, block].T
    np.testing.assert_allclose(drift.measure_margin(cosines, 0.9, 60, block), expected, atol=1e-12)
    few = drift.measure_margin(cosines[:, :91], 0.9, 60, block[:31])
    np.testing.assert_allclose(few, [top(np.r_[train, block[:31]] @ u) - 0.9 for u in new])


def test_a_gradual_change_is_followed_by_a_large_memory_too():
    """400 dimensions of noise: neighbours among 2,000 rows are nearer than among the last 100."""
    rng = np.random.default_rng(0)

    def draw(degrees, n):
        part = circle(degrees, n, seed=int(rng.integers(1e6)))
        noise = 0.02 * rng.standard_normal((n, 400)).astype(np.float32)
        return replace(part, x=np.hstack([part.x, noise]))

    for n in (200, 2000):
        model = (method := AdaNPC(k=5)).fit(draw(0, n))
        angles, hits = np.repeat(np.arange(0, 120, 6), 3), []
        for angle in angles:
            part = draw(angle, 40)
            logits, model = method.adapt(model, part.x)
            hits.append(np.mean(logits.argmax(1) == part.y))
        assert np.mean(hits) > 0.95, n


@pytest.mark.parametrize(
    ("sure", "new", "fit"),
    [(82, 32, True), (80, 32, True), (70, 32, False)],
)
def test_the_estimated_accuracy_may_drop_by_15_points(sure, new, fit):
    is_sure = np.random.default_rng(0).permutation(np.arange(100) < sure)
    is_sure[-32:] = np.arange(32) < 28  # 88 % of the last
    expected = is_sure.mean() + (0.14 if fit else 0.16)
    assert (drift.explain_estimate_drop(is_sure, expected, new) == "") is fit


def test_the_last_batch_is_estimated_alone_as_well():
    is_sure = np.arange(96) < 76  # 12 of the last 32
    assert "drops from 90% to 38%" in drift.explain_estimate_drop(is_sure, 0.9, 32)


def test_the_expected_accuracy_moves_by_rows_and_not_by_batches():
    once = drift.update_expected_accuracy(0.9, np.ones(32) > 0)
    assert once == pytest.approx(0.7 * 0.9 + 0.3)
    split = 0.9
    for _ in range(4):
        split = drift.update_expected_accuracy(split, np.ones(8) > 0)
    assert split == pytest.approx(once)


def test_as_many_training_rows_are_confident_as_are_right():
    model = AdaNPC().fit(blobs(300))
    assert model.expected_accuracy >= model.initial_accuracy > model.expected_accuracy - 0.02


def test_a_batch_of_uncertain_predictions_is_not_admitted():
    data = blobs(300)
    method = AdaNPC(k=5, min_confidence=0.5)
    model = method.fit(data)
    half_way = data.x[:120] * 0.5 + data.x[120:240] * 0.5
    near = replace(model, min_similarity=-1.0)
    assert (
        "the estimated accuracy of the last rows drops" in method.adapt(near, half_way)[1].message
    )


def test_one_training_row_may_be_wrong_however_few_there_are():
    method = AdaNPC(k=5, max_accuracy_drop=0.0)
    before = method.adapt(method.fit(circle(0, 40)), circle(0, seed=1).x)[1]
    right = before.measure_accuracy()
    for wrong, message in ((1, ""), (2, "would drop by 5.0%")):
        worn = replace(before, initial_accuracy=right + wrong / 40)
        result = method._apply_guard(before, worn, 60).message
        assert result.endswith(message)
        assert bool(result) is bool(message)


def test_nothing_is_learned_with_labels_that_the_memory_cannot_confirm():
    data, rng = circle(0, 400), np.random.default_rng(1)
    noisy = replace(data, y=np.where(rng.random(400) < 0.3, 1 - data.y, data.y))
    method = AdaNPC(k=20, temperature=1.0, min_confidence=0.7)
    start = method.fit(noisy)
    answers = np.array([start.compute_votes(start.compute_validation_cosines())])[0]
    sure = answers.max(1) >= 0.7 - 1e-9
    right = answers.argmax(1) == noisy.y[start.validation_rows]
    assert start.confident_precision == pytest.approx(right[sure].mean())
    message = method.adapt(start, circle(0, seed=1).x)[1].message
    assert message.startswith("no row was admitted: only ")
    assert message.endswith("of the confident predictions for training rows are right")
    assert method.adapt(method.fit(data), circle(0, seed=1).x)[1].message == ""
    assert drift.explain_imprecision(0.8) == ""
    assert drift.explain_imprecision(0.79)


def test_a_memory_that_was_saved_without_the_later_limits_can_be_adapted():
    method = AdaNPC(k=5)
    start = replace(
        method.fit(circle(0, 200)),
        min_vote=0.0,
        expected_accuracy=0.0,
        confident_precision=1.0,
    )
    assert start.recent_confident is None
    model = method.adapt(start, circle(0, seed=1).x)[1]
    assert model.message == ""
    assert len(model.recent_confident) == 60
