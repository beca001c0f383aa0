"""Methods that learn from rows read block by block give what they give in memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers.held_stream import make_stream
from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.core.metrics import log_softmax
from ilk.core.row_stream import FitsStream, RowStream
from ilk.maths import streamed_regression
from ilk.maths.gaussian import subtract_statistics
from ilk.maths.logistic_regression import fit_regression
from ilk.maths.streamed_neighbours import find_nearest_streamed
from ilk.maths.streamed_regression import fit_streamed_regression
from ilk.maths.streamed_ridge import StreamedRidge, choose_penalty
from ilk.methods import list_methods, parse
from ilk.methods.k_nearest import KNearest
from ilk.methods.logistic_regression import LogisticRegression
from ilk.methods.ridge import ALPHAS, Ridge


def simulate(n=400, d=8, k=3, seed=0, groups=False, far=0.0):
    rng = np.random.default_rng(seed)
    y = np.sort(rng.integers(0, k, n))
    rng.shuffle(y)
    x = rng.normal(size=(n, d)) * np.linspace(0.5, 2, d) + rng.normal(size=(k, d))[y] + far
    group = rng.integers(0, n // 4, n) if groups else np.full(n, -1)
    if groups:
        x += 0.7 * rng.normal(size=(n, d))[group]
    return Data(x.astype(np.float32), y, tuple("abcdefgh"[: k + 1]), group=group)


PROBE = np.random.default_rng(9).normal(size=(50, 8)).astype(np.float32)


def differ(a, b, x=PROBE):
    """Greatest difference of probabilities."""
    first, second = (np.exp(log_softmax(m.logits(x), 1)) for m in (a, b))
    return float(np.abs(first - second).max())


@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize("far", [0.0, 100.0])
@pytest.mark.parametrize(
    "text",
    [
        "GDA()",
        "GDA(shrink=0.3, uniform=True)",
        "NaiveBayes()",
        "Ridge(alpha=3.0)",
        "NearestClassMean()",
        "NearestClassMean(standardize=True)",
        "KNearest()",
        "LogisticRegression(C=0.5)",
    ],
)
def test_a_stream_gives_the_model_of_the_rows_in_memory(text, far, groups):
    data = simulate(far=far, groups=groups)
    method = parse(text)
    assert isinstance(method, FitsStream)
    stream = make_stream(data)
    assert isinstance(stream, RowStream)
    tolerance = 2e-3 if "Logistic" in text else 2e-5 if far else 2e-6
    assert differ(method.fit(data), method.fit_stream(stream), PROBE + far) <= tolerance


@pytest.mark.parametrize(
    "name", [name for name, method in list_methods().items() if hasattr(method, "fit_stream")]
)
def test_every_method_that_reads_a_stream_predicts_as_in_memory(name):
    data = simulate(n=900, seed=11)
    train, probe = data.take(np.arange(600)), data.x[600:]
    models = parse(name).fit(train), parse(name).fit_stream(make_stream(train, 5))
    first, second = (model.logits(probe) for model in models)
    assert np.mean(first.argmax(1) == second.argmax(1)) >= 0.98
    assert np.isneginf(second[:, 3]).all()  # a class without rows


def test_closed_forms_read_the_rows_once():
    stream = make_stream(simulate())
    assert stream.source.passes == 1
    for text in ("GDA()", "NaiveBayes()", "Ridge()"):
        parse(text).fit_stream(stream)
    assert stream.source.passes == 1


def test_the_methods_themselves_say_that_they_learn_from_a_stream():
    able = {name for name, method in list_methods().items() if hasattr(method, "fit_stream")}
    assert {"GDA", "Ridge", "NaiveBayes", "NearestClassMean", "KNearest"} <= able
    assert "LogisticRegression" in able
    assert "FineTuning" not in able


def test_the_penalty_of_ridge_has_the_least_error_on_parts_left_out():
    data = simulate(n=60, d=8, k=2, seed=3)
    stream = make_stream(data, n_parts=4)
    errors = []
    for multiple in ALPHAS:
        total = 0.0
        for p in range(4):
            train, test = data.take(stream.part != p), data.take(stream.part == p)
            centre = train.x.mean(0, dtype=float)
            z, targets = train.x - centre, np.eye(3)[train.y]
            prior, scale = targets.mean(0), (z**2).sum() / 8
            w = np.linalg.solve(z.T @ z + multiple * scale * np.eye(8), z.T @ (targets - prior))
            total += ((np.eye(3)[test.y] - prior - (test.x - centre) @ w) ** 2).sum()
        errors.append(total)
    got = choose_penalty(stream.statistics, stream.parts, ALPHAS)
    assert got == ALPHAS[np.argmin(errors)]
    part = stream.part_statistics[0]
    rest = StreamedRidge.from_statistics(subtract_statistics(stream.statistics, part))
    direct = 0.0
    weight = rest.compute_weight(2.0)
    for x, c in zip(data.x[stream.part == 0], data.y[stream.part == 0], strict=True):
        residual = np.eye(3)[c] - rest.prior - weight @ (x - rest.centre)
        direct += (residual**2).sum()
    np.testing.assert_allclose(rest.compute_errors(np.array([2.0]), part), direct, rtol=1e-5)


def test_ridge_chooses_close_to_leave_one_out_where_rows_are_many():
    data = simulate(n=3000, seed=5)
    assert differ(Ridge().fit(data), Ridge().fit_stream(make_stream(data))) < 0.02


def test_the_gap_of_the_regression_is_bounded_and_the_bound_holds():
    data = simulate(n=500, seed=2)
    fitted = fit_streamed_regression(make_stream(data), C=0.05)
    full = fit_regression(data, 0.05)

    def objective(result):
        scores = (data.x - result.centre) @ result.weight.T + result.bias
        loss = -log_softmax(scores[:, :3], 1)[np.arange(len(data)), data.y].sum()
        return (loss + (result.weight**2).sum() / (2 * 0.05)) / len(data)

    gap = objective(fitted.result) - objective(full)
    assert -1e-6 < gap <= fitted.certain_gap + 1e-6
    assert fitted.certain_gap < 1e-2
    assert "by duality" in str(fitted)


def test_a_regression_stopped_early_knows_that_it_is_far_from_the_minimum(monkeypatch):
    data = simulate(n=500, seed=2)
    close = fit_streamed_regression(make_stream(data), C=0.05)
    monkeypatch.setattr("ilk.maths.streamed_regression.SAMPLE_ROWS", 20)
    monkeypatch.setattr("ilk.maths.streamed_regression.MAX_PASSES", 1)
    early = fit_streamed_regression(make_stream(data), C=0.05)
    assert early.n_passes == 1
    assert early.certain_gap > 10 * close.certain_gap


@pytest.mark.parametrize("max_passes", [1, 60])
def test_the_certain_gap_is_the_distance_to_the_dual_point(max_passes, monkeypatch):
    data, C = simulate(n=500, seed=2), 0.05
    monkeypatch.setattr("ilk.maths.streamed_regression.SAMPLE_ROWS", 60)
    monkeypatch.setattr("ilk.maths.streamed_regression.MAX_PASSES", max_passes)
    fitted = fit_streamed_regression(make_stream(data), C=C)
    weight, bias = fitted.result.weight[:3], fitted.result.bias[:3]
    z = data.x - fitted.result.centre
    log_p = log_softmax(z @ weight.T + bias, 1)
    p, targets = np.exp(log_p), np.eye(3)[data.y]
    primal = -(log_p * targets).sum() + (weight**2).sum() / (2 * C)
    dual = -(p * log_p).sum() - C / 2 * (((p - targets).T @ z) ** 2).sum()  # entropies
    free = bias @ (p - targets).sum(0)  # of the bias, which has no penalty
    want = (primal - dual - free + abs(free)) / len(data)
    assert fitted.certain_gap == pytest.approx(want, rel=2e-2, abs=1e-7)


def test_the_start_has_the_scores_of_the_sample_on_all_rows():
    data = simulate(n=400, seed=6, far=10.0)
    start = fit_regression(data.take(np.arange(90)), 0.5)
    stream = make_stream(data)
    problem = streamed_regression._Problem.from_stream(stream, 0.5)
    same = problem.to_result(problem.to_parameters(start), stream)
    scores = [(data.x - r.centre) @ r.weight[:3].T + r.bias[:3] for r in (start, same)]
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-3)


def test_regression_says_how_far_it_may_be_from_the_full_fit():
    stream = make_stream(simulate())
    LogisticRegression().fit_stream(stream)
    assert len(stream.notes) == 1
    assert "nats" in stream.notes[0]


def test_neighbours_by_blocks_are_those_of_all_rows_at_once():
    rng = np.random.default_rng(4)
    x = rng.integers(0, 4, (300, 5)).astype(np.float32)  # many ties
    queries, group = x[:40], np.arange(300) // 3
    blocks = [(np.arange(s, min(s + 17, 300)), x[s : s + 17]) for s in range(0, 300, 17)]
    index, distance = find_nearest_streamed(queries, group[:40], blocks, group, 9, x.mean(0))
    exact = ((queries[:, None].astype(float) - x) ** 2).sum(2)
    exact[group[:40, None] == group] = np.inf
    want = np.lexsort((np.broadcast_to(np.arange(300), exact.shape), exact), axis=1)[:, :9]
    np.testing.assert_allclose(distance, np.take_along_axis(exact, want, 1), atol=1e-5)
    np.testing.assert_array_equal(index, want)


def test_k_nearest_keeps_what_fits_and_says_what_the_others_would_add():
    data = simulate(n=600)
    stream = make_stream(data, memory=4 * 8 * 100)
    model = KNearest().fit_stream(stream)
    assert len(model.rows) == pytest.approx(100, abs=4)
    assert "of 600 training images" in stream.notes[0]
    assert "accuracy of" in stream.notes[0]
    whole = make_stream(data)
    assert len(KNearest().fit_stream(whole).rows) == 600
    assert not whole.notes


def test_directions_of_rows_are_refused_with_what_to_do():
    data = simulate(n=40, d=20, k=4)
    with pytest.raises(InputError, match="rows='raw'"):
        parse("GDA()").fit_stream(make_stream(data))
    with pytest.raises(InputError, match="rows='raw'"):
        parse("GDA(rows='unit')").fit_stream(make_stream(simulate()))
    raw = replace(parse("GDA()"), rows="raw")
    probe = np.zeros((1, 20), np.float32)
    assert differ(raw.fit(data), raw.fit_stream(make_stream(data)), probe) < 1e-5
