"""The loop, what is charged, herding, a growing head, and streaming statistics in any order."""

from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.core.exemplar_mlp import ExemplarMLP
from ilk.core.linear_models import Linear
from ilk.maths import factor_analysis as factors
from ilk.methods.fine_tuning import FineTuning
from ilk.methods.gda import GDA
from ilk.methods.nearest_mean import NearestClassMean
from ilk.methods.streaming_gda import StreamingGDA
from ilk.protocols import Step, class_tasks
from ilk.training.class_incremental_head import (
    IncrementalHead,
    make_incremental_head,
    make_new_class_loss,
    train_incremental,
)
from ilk.training.continual import (
    append_exemplars,
    attach_exemplars,
    count_bytes,
    herd_exemplars,
    run_steps,
    update_exemplars,
)
from ilk.training.heads import cross_entropy
from ilk.training.losses import distillation_loss, mean_cross_entropy

NAMES = tuple("abcde")


def draw(n=150, d=6, seed=0, apart=2.0):
    rng = np.random.default_rng(seed)
    means = apart * np.random.default_rng(9).standard_normal((5, d))
    y = rng.permutation(np.arange(n) % 5)
    return Data((means[y] + rng.standard_normal((n, d))).astype(np.float32), y, NAMES)


@dataclass(frozen=True)
class Counts:
    """Counts rows, and answers with the classes it has seen most often."""

    def fit(self, data):
        return self.update(Linear(np.zeros((5, 6), np.float32), np.zeros(5, np.float32)), data)

    def update(self, model, data):
        return Linear(model.weight, model.bias + data.count_labels().astype(np.float32))


def test_each_step_goes_on_from_the_model_before_and_is_asked_for_all_so_far():
    data, test = draw(), draw(50, seed=1)
    stages = run_steps(Counts(), class_tasks(data, test, [2, 2, 1], seed=3))
    assert [int(s.model.bias.sum()) for s in stages] == [60, 120, 150]
    assert [s.n_classes for s in stages] == [2, 4, 5]
    again = run_steps(
        Counts(), [replace(s, warm_start=False) for s in class_tasks(data, test, [2, 3])]
    )
    assert [int(s.model.bias.sum()) for s in again] == [60, 90]


def test_accuracy_of_old_and_of_new_classes_make_up_the_whole():
    data, test = draw(apart=0.7), draw(200, seed=1, apart=0.7)
    steps = list(class_tasks(data, test, [2, 2, 1], seed=3))
    stages = run_steps(StreamingGDA(), steps)
    assert np.isnan(stages[0].old_accuracy)
    assert stages[0].new_accuracy == stages[0].accuracy
    for stage, step in zip(stages[1:], steps[1:], strict=True):
        share = np.mean(np.isin(step.test.y, step.train.y))
        assert stage.accuracy == pytest.approx(
            share * stage.new_accuracy + (1 - share) * stage.old_accuracy
        )
        answer = stage.model.logits(step.test.x).argmax(1)
        fresh = np.isin(step.test.y, step.train.y)
        assert stage.new_accuracy == pytest.approx(np.mean(answer[fresh] == step.test.y[fresh]))


def test_learning_all_rows_together_is_charged_for_them():
    data, test = draw(), draw(50, seed=1)
    stages = run_steps(GDA(), class_tasks(data, test, [3, 2], seed=0), joint=True)
    linear = 5 * 6 * 4 + 5 * 4
    assert [s.memory_bytes for s in stages] == [
        linear + 90 * (6 * 4 + 8),
        linear + 150 * (6 * 4 + 8),
    ]
    batch = GDA().fit(data).logits(test.x)
    np.testing.assert_allclose(stages[-1].model.logits(test.x), batch, rtol=1e-5, atol=1e-5)


def test_bytes_are_those_of_the_arrays():
    model = ExemplarMLP(
        *(np.zeros(6, np.float32), np.ones(6, np.float32), np.zeros((3, 6), np.float32)),
        *(np.zeros(3, np.float32), np.zeros((5, 3), np.float32), np.zeros(5, np.float32)),
        *(np.zeros((7, 6), np.float32), np.zeros(7, np.int64)),
    )
    assert count_bytes(model) == 4 * (6 + 6 + 18 + 3 + 15 + 5 + 42) + 8 * 7


def test_a_method_that_cannot_go_on_and_a_step_without_a_question_are_refused():
    data = draw()
    with pytest.raises(InputError, match="GDA has no update and cannot continue"):
        run_steps(GDA(), class_tasks(data, data, [2, 3]))
    bare = Step(data, data.take([]), np.empty(0, np.int64))
    with pytest.raises(InputError, match="step 1 has no test rows"):
        run_steps(StreamingGDA(), [bare])


def test_herding_is_the_greedy_choice_made_one_by_one():
    u = np.random.default_rng(0).standard_normal((9, 4))
    left, picked = list(range(9)), []
    for _ in range(5):
        far = [np.linalg.norm(u[[*picked, i]].mean(0) - u.mean(0)) for i in left]
        picked.append(left.pop(int(np.argmin(far))))
    np.testing.assert_array_equal(herd_exemplars(u, 5), picked)
    assert sorted(herd_exemplars(u, 99)) == list(range(9))


def test_the_first_herded_row_is_the_best_alone_and_more_come_nearer_than_chance():
    rng = np.random.default_rng(1)
    u = rng.standard_normal((200, 8))
    chosen = herd_exemplars(u, 10)
    assert chosen[0] == np.argmin(np.linalg.norm(u - u.mean(0), axis=1))
    far = np.linalg.norm(u[chosen].mean(0) - u.mean(0))
    chance = [np.linalg.norm(u[rng.permutation(200)[:10]].mean(0) - u.mean(0)) for _ in range(99)]
    assert far < min(chance)


def grown_head(data, before=None):
    grown = make_incremental_head(data, before, 8, 0)
    return train_incremental(grown, cross_entropy, 5, 0)


def test_exemplars_are_shared_evenly_and_old_ones_give_way_from_the_end():
    data = draw()
    first = data.take_classes("abc")
    head = grown_head(first)
    kept = attach_exemplars(head, *update_exemplars(head, first, 30))
    np.testing.assert_array_equal(kept.exemplar_labels, np.repeat([0, 1, 2], 10))
    for row, c in zip(kept.exemplars, kept.exemplar_labels, strict=True):
        assert (first.x[first.y == c] == row).all(1).any()
    wider = grown_head(data.take_classes("de"), head)
    more = attach_exemplars(wider, *update_exemplars(wider, data.take_classes("de"), 30, kept))
    np.testing.assert_array_equal(more.exemplar_labels, np.repeat(np.arange(5), 6))
    for c in range(3):
        held = more.exemplars[more.exemplar_labels == c]
        np.testing.assert_array_equal(held, kept.exemplars[kept.exemplar_labels == c][:6])
    rows = append_exemplars(data.take_classes("de"), more)
    assert len(rows) == 60 + 30
    np.testing.assert_array_equal(rows.count_labels(), [6, 6, 6, 36, 36])
    none = update_exemplars(wider, data.take_classes("de"), 4, kept)
    assert none[0].shape == (0, 6)


def test_a_class_with_more_rows_is_herded_anew_from_both():
    data = draw()
    head = grown_head(data.take_classes("ab"))
    kept = attach_exemplars(
        head, *update_exemplars(head, data.take_classes("ab").take(np.arange(20)), 8)
    )
    _, owners = update_exemplars(head, data.take_classes("a"), 20, kept)
    assert np.sum(owners == 0) == 10
    assert np.sum(owners == 1) == len(kept.exemplars[kept.exemplar_labels == 1])


def test_a_head_that_grows_starts_from_what_it_knew():
    data = draw()
    head = grown_head(data.take_classes("ace"))
    grown = make_incremental_head(data.take_classes("bd"), head, 99, 0)
    np.testing.assert_array_equal(grown.class_ids, np.arange(5))
    np.testing.assert_array_equal(grown.is_old, [True, False, True, False, True])
    with torch.no_grad():
        z = grown.head.standardize(torch.from_numpy(np.array(data.x)))
        scores = grown.head(z).numpy()
    np.testing.assert_allclose(scores[:, [0, 2, 4]], head.logits(data.x)[:, [0, 2, 4]], atol=1e-4)
    np.testing.assert_allclose(
        grown.compute_old_logits().numpy(),
        head.logits(data.take_classes("bd").x)[:, [0, 2, 4]],
        rtol=1e-5,
        atol=1e-5,
    )


def test_new_outputs_are_drawn_anew_with_each_task():
    data = draw()
    head = grown_head(data.take_classes("a"))
    second = make_incremental_head(data.take_classes("b"), head, 8, 0).head.output_layer.weight[1]
    third = make_incremental_head(
        data.take_classes("c"), grown_head(data.take_classes("b"), head), 8, 0
    ).head.output_layer.weight[2]
    assert not torch.equal(second, third)


def test_distillation_is_least_where_the_answers_are_kept():
    told = torch.tensor(np.random.default_rng(0).standard_normal((7, 3)))
    p = softmax(told.numpy() / 2, axis=1)
    assert float(distillation_loss(told, told)) == pytest.approx(
        -np.mean(np.sum(p * np.log(p), axis=1))
    )
    other = told + torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    want = -np.mean(np.sum(p * log_softmax(other.numpy() / 2, axis=1), axis=1))
    assert float(distillation_loss(other, told)) == pytest.approx(want)
    assert want > float(distillation_loss(told, told))
    assert float(distillation_loss(told + 5, told)) == pytest.approx(
        float(distillation_loss(told, told))
    )


def test_the_loss_of_new_classes_sees_no_old_score():
    data = draw()
    grown = make_incremental_head(
        data.take_classes("bd"), grown_head(data.take_classes("ace")), 8, 0
    )
    scores = torch.randn(4, 5, generator=torch.Generator().manual_seed(1)).double()
    y = torch.tensor([1, 3, 3, 1])
    two = log_softmax(scores.numpy()[:, [1, 3]], axis=1)
    want = -np.mean(two[np.arange(4), [0, 1, 1, 0]])
    assert float(make_new_class_loss(grown)(scores, y)) == pytest.approx(want)
    one = make_incremental_head(data.take_classes("b"), grown_head(data.take_classes("ace")), 8, 0)
    assert make_new_class_loss(one) is mean_cross_entropy
    both = make_incremental_head(
        data.take_classes("abd"), grown_head(data.take_classes("ace")), 8, 0
    )
    assert make_new_class_loss(both) is mean_cross_entropy


def test_what_a_model_before_says_needs_one():
    grown = make_incremental_head(draw(), None, 8, 0)
    assert isinstance(grown, IncrementalHead)
    assert not grown.is_old.any()
    with pytest.raises(ValueError, match="no previous model"):
        grown.compute_old_logits()


@pytest.mark.parametrize("shrink", [None, 0.2, "oas"])
@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_streaming_gda_in_any_order_is_the_batch_to_1e_8(shrink, offset):
    data = draw(apart=0.8)
    data = replace(data, x=data.x + np.float32(offset))
    method, test = StreamingGDA(shrink=shrink), draw(40, seed=3, apart=0.8).x + np.float32(offset)
    whole = method.fit(data).logits(test)
    rng = np.random.default_rng(0)
    for trial in range(4):
        order = rng.permutation(150)
        cut = [np.array([i]) for i in order] if trial == 0 else np.array_split(order, trial * 3)
        model = method.fit(data.take(cut[0]))
        for part in cut[1:]:
            model = method.update(model, data.take(part))
        np.testing.assert_allclose(model.logits(test), whole, rtol=1e-8, atol=1e-8)


def test_streaming_gda_takes_classes_in_every_order():
    data, method = draw(90), StreamingGDA()
    whole = method.fit(data).logits(data.x)
    for order in list(permutations("abcde"))[::7]:
        model = method.fit(data.take_classes(order[0]))
        assert np.isneginf(model.logits(data.x)).sum(1).max() == 4
        for name in order[1:]:
            model = method.update(model, data.take_classes(name))
        np.testing.assert_allclose(model.logits(data.x), whole, rtol=1e-8, atol=1e-8)


def test_streaming_gda_is_gda():
    data, test = draw(apart=0.8), draw(40, seed=3)
    np.testing.assert_allclose(
        log_softmax(StreamingGDA().fit(data).logits(test.x), axis=1),
        log_softmax(GDA().fit(data).logits(test.x), axis=1),
        rtol=1e-3,
        atol=1e-3,
    )


@pytest.mark.parametrize("scaled", [False, True])
def test_nearest_mean_goes_on_about_the_centre_it_began_with(scaled):
    data, test = draw(), draw(40, seed=3)
    method = NearestClassMean(standardize=scaled)
    first = method.fit(data.take_classes("ab"))
    model = method.update(method.update(first, data.take_classes("cd")), data.take_classes("e"))
    z = (data.x.astype(float) - first.centre) / first.scale
    u = z / np.linalg.norm(z, axis=1, keepdims=True)
    means = np.stack([u[data.y == c].mean(0) for c in range(5)])
    v = (test.x.astype(float) - first.centre) / first.scale
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    far = np.sum((v[:, None] - means) ** 2, axis=2)
    got = model.logits(test.x)
    want = -0.5 * first.inverse_temperature * far
    np.testing.assert_allclose(got - got[:, :1], want - want[:, :1], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(model.counts, data.count_labels())


def test_nearest_mean_takes_more_rows_of_a_class_it_knows_and_says_what_it_cannot():
    data, method = draw(), NearestClassMean()
    half = method.fit(data.take(np.arange(75)))
    both = method.update(half, data.take(np.arange(75, 150)))
    u = (lambda z: z / np.linalg.norm(z, axis=1, keepdims=True))(data.x - half.centre.astype(float))
    want = np.stack([u[data.y == c].mean(0) for c in range(5)])
    np.testing.assert_allclose(both.weight / both.inverse_temperature, want, atol=1e-5)
    bare = replace(data, y=np.full(150, -1))
    assert method.update(half, bare) is half
    with pytest.raises(ValueError, match="the model knows 5 classes, the data 6"):
        method.update(half, Data(data.x, data.y, (*NAMES, "f")))
    with pytest.raises(InputError, match="fit it again"):
        method.update(replace(half, counts=None), data)


def test_a_models_head_forgets_and_all_rows_together_do_not():
    data, test = draw(), draw(100, seed=1)
    steps = list(class_tasks(data, test, [3, 2], seed=0))
    method = FineTuning(hidden=16, steps=60)
    gone, kept = run_steps(method, steps)[-1], run_steps(method, steps, joint=True)[-1]
    assert gone.old_accuracy < 0.4 < 0.7 < kept.old_accuracy


def test_a_class_in_few_numbers_keeps_every_mean_and_variance():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 5)) @ rng.standard_normal((5, 5)) + 3
    held = factors.fit_factors(x, 2)
    np.testing.assert_allclose(held[0], x.mean(0))
    np.testing.assert_allclose(np.sum(held[1:] ** 2, axis=0), x.var(0))
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    for i in (1, 2):
        want = vectors[:, -i] * np.sqrt(values[-i])
        np.testing.assert_allclose(np.abs(held[i]), np.abs(want), atol=1e-8)
        assert held[i][np.abs(held[i]).argmax()] > 0
    made = factors.sample_factors(held, held[-1], 200_000, rng)
    np.testing.assert_allclose(made.mean(0), x.mean(0), atol=0.05)
    want = held[1:3].T @ held[1:3] + np.diag(held[3] ** 2)
    np.testing.assert_allclose(np.cov(made.T, bias=True), want, rtol=0.03, atol=0.05)


def test_a_single_row_is_its_mean_and_pooling_weighs_by_rows():
    one = factors.fit_factors(np.arange(4.0)[None], 3)
    np.testing.assert_array_equal(one[0], np.arange(4))
    assert not one[1:].any()
    x = np.random.default_rng(1).standard_normal((30, 4))
    memory = np.stack(
        [factors.fit_factors(x[:10], 1), np.zeros((3, 4)), factors.fit_factors(x[10:], 1)]
    )
    got = factors.pool_variance(memory, np.array([10, 0, 20]))
    np.testing.assert_allclose(got, (10 * x[:10].var(0) + 20 * x[10:].var(0)) / 30)
    lone = np.stack([factors.fit_factors(x[:1], 1), factors.fit_factors(x[1:2], 1)])
    between = np.mean(((x[0] - x[1]) / 2) ** 2)
    np.testing.assert_allclose(factors.pool_variance(lone, np.array([1, 1])), 0.01 * between)
