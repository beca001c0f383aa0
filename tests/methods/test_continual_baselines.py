"""EWC's Fisher information against autograd, LwF's and replay's losses, and what each forgets."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from helpers.small_training import make_step
from ilk.artifacts import pack as packed
from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.methods.ewc import EWC, compute_fisher
from ilk.methods.fine_tuning import FineTuning
from ilk.methods.lwf import LwF
from ilk.methods.replay import Replay
from ilk.protocols import class_tasks
from ilk.training.batch import Batch
from ilk.training.continual import count_bytes, run_steps

NAMES = tuple("abcde")
SMALL = {"hidden": 16, "steps": 60}


def draw(n=200, d=6, seed=0, apart=2.0):
    rng = np.random.default_rng(seed)
    means = apart * np.random.default_rng(9).standard_normal((5, d))
    y = rng.permutation(np.arange(n) % 5)
    return Data((means[y] + rng.standard_normal((n, d))).astype(np.float32), y, NAMES)


def steps(seed=0):
    return list(class_tasks(draw(), draw(seed=1), [2, 2, 1], seed))


def test_fisher_information_matches_autograd_per_row():
    data = draw(25)
    head = FineTuning(hidden=7, steps=20).fit(data.take_classes("abd"))
    seen_classes = [0, 1, 3]
    inner = [
        torch.tensor(w.astype(float), requires_grad=True)
        for w in (head.hidden_weight, head.hidden_bias)
    ]
    outer = [
        torch.tensor(w[seen_classes].astype(float), requires_grad=True)
        for w in (head.weight, head.bias)
    ]
    weights = [*inner, *outer]
    total = [torch.zeros_like(w) for w in weights]
    for row in data.x:
        z = torch.tensor((row.astype(float) - head.centre) / head.scale)
        scores = outer[0] @ torch.relu(inner[0] @ z + inner[1]) + outer[1]
        for c, p in enumerate(scores.softmax(0).detach()):
            slopes = torch.autograd.grad(scores.log_softmax(0)[c], weights, retain_graph=True)
            total = [t + p * g**2 for t, g in zip(total, slopes, strict=True)]
    got = compute_fisher(head, data.x)
    for ours, theirs, rows in zip(
        got, total, (slice(None), slice(None), seen_classes, seen_classes), strict=True
    ):
        np.testing.assert_allclose(ours[rows], theirs.numpy(), rtol=1e-8, atol=1e-10)
    assert not got[2][[2, 4]].any()
    assert not got[3][[2, 4]].any()


def test_fisher_information_adds_up_over_tasks_and_rows():
    data = draw()
    head = FineTuning(**SMALL).fit(data)
    halves = zip(compute_fisher(head, data.x[:90]), compute_fisher(head, data.x[90:]), strict=True)
    for whole, (a, b) in zip(compute_fisher(head, data.x), halves, strict=True):
        np.testing.assert_allclose(whole, a + b)
    first = EWC(**SMALL).fit(data.take_classes("abc"))
    second = EWC(**SMALL).update(first, data.take_classes("de"))
    added = compute_fisher(second, data.take_classes("de").x)
    np.testing.assert_allclose(
        second.hidden_weight_fisher, first.hidden_weight_fisher + added[0], rtol=1e-5
    )
    np.testing.assert_allclose(second.weight_fisher, first.weight_fisher + added[2], rtol=1e-5)


def test_stiffer_springs_move_important_weights_less():
    data = draw()
    first = EWC(**SMALL).fit(data.take_classes("abc"))

    def moved(strength):
        model = EWC(strength=strength, **SMALL).update(first, data.take_classes("de"))
        far = first.hidden_weight_fisher * (model.hidden_weight - first.hidden_weight) ** 2
        return float(far.sum())

    free, soft, stiff = moved(0.0), moved(1.0), moved(1e4)
    assert stiff < 0.1 * soft < 0.5 * free


def test_a_spring_costs_half_its_stiffness_times_the_square_over_the_rows():
    from ilk.methods.ewc import _make_objective
    from ilk.training.class_incremental_head import make_incremental_head

    data = draw()
    first = EWC(**SMALL).fit(data.take_classes("abc"))
    grown = make_incremental_head(data.take_classes("de"), first, 16, 0)
    x = grown.head.standardize(torch.from_numpy(np.array(grown.data.x)))
    batch = Batch(x, torch.from_numpy(np.array(grown.data.y)))
    loss = _make_objective(grown, first, 6.0)
    loss.setup(grown.head, batch)
    with torch.no_grad():
        before = float(loss(grown.head, batch, make_step()))
        grown.head.output_layer.bias[1] += (
            0.5  # of an old class, which the loss of new rows does not see
        )
        after = float(loss(grown.head, batch, make_step()))
    want = 6.0 / (2 * len(grown.data)) * float(first.bias_fisher[1]) * 0.25
    assert after - before == pytest.approx(want, rel=1e-3)


def test_fine_tuning_forgets_nearly_all_and_the_others_less():
    last = {
        name: run_steps(method, steps())[-1]
        for name, method in {
            "fine-tuning": FineTuning(**SMALL),
            "EWC": EWC(**SMALL),
            "LwF": LwF(**SMALL),
            "replay": Replay(exemplars=50, **SMALL),
            "iCaRL": Replay(exemplars=50, distillation_weight=1.0, nearest_mean=True, **SMALL),
        }.items()
    }
    floor = last["fine-tuning"].old_accuracy
    assert floor < 0.3
    assert last["replay"].old_accuracy > floor + 0.3
    assert last["iCaRL"].old_accuracy > floor + 0.3
    assert last["EWC"].memory_bytes > last["LwF"].memory_bytes == last["fine-tuning"].memory_bytes
    assert last["replay"].memory_bytes == last["fine-tuning"].memory_bytes + 50 * (6 * 4 + 8)
    two = list(class_tasks(draw(), draw(seed=1), [3, 2], 0))
    for method in (EWC(**SMALL), LwF(**SMALL)):
        assert (
            run_steps(method, two)[-1].old_accuracy
            > run_steps(FineTuning(**SMALL), two)[-1].old_accuracy + 0.1
        )


def test_lwf_without_strength_is_its_first_loss_alone_and_with_it_keeps_old_answers():
    data = draw()
    method = LwF(**SMALL)
    first, new = method.fit(data.take_classes("abc")), data.take_classes("de")

    def drift(strength):
        model = LwF(strength=strength, **SMALL).update(first, new)
        new_logits, old_logits = (m.logits(new.x)[:, :3] for m in (model, first))
        return np.abs(
            (new_logits - new_logits.mean(1)[:, None]) - (old_logits - old_logits.mean(1)[:, None])
        ).mean()

    assert drift(30.0) < 0.5 * drift(0.0)


@pytest.mark.parametrize("distil", [0.0, 1.0])
def test_the_nearest_mean_of_exemplars_answers(distil):
    method = Replay(exemplars=40, distillation_weight=distil, nearest_mean=True, **SMALL)
    model = run_steps(method, steps())[-1].model
    x = draw(seed=3).x
    unit = lambda h: h / np.linalg.norm(h, axis=1, keepdims=True)  # noqa: E731
    u, exemplars_unit = unit(model.compute_hidden(x)), unit(model.compute_hidden(model.exemplars))
    means = np.stack([exemplars_unit[model.exemplar_labels == c].mean(0) for c in range(5)])
    far = np.sum((u[:, None] - means) ** 2, axis=2)
    got, want = model.logits(x), -0.5 * model.inverse_temperature * far
    np.testing.assert_allclose(got - got[:, :1], want - want[:, :1], rtol=1e-4, atol=1e-4)
    assert model.inverse_temperature > 0


def test_what_is_distilled_is_the_heads_own_score_and_not_the_nearest_means():
    data = draw()
    first = Replay(exemplars=30, nearest_mean=True, **SMALL).fit(data.take_classes("abc"))
    plain = Replay(exemplars=30, **SMALL).fit(data.take_classes("abc"))
    after = [
        Replay(exemplars=30, distillation_weight=1.0, **SMALL).update(m, data.take_classes("de"))
        for m in (first, plain)
    ]
    np.testing.assert_array_equal(after[0].weight, after[1].weight)


def test_an_unseen_class_is_never_predicted():
    data = draw()
    for method in (
        FineTuning(**SMALL),
        EWC(**SMALL),
        LwF(**SMALL),
        Replay(**SMALL),
        Replay(nearest_mean=True, **SMALL),
    ):
        first = method.fit(data.take_classes("bd"))
        assert np.isneginf(first.logits(data.x)[:, [0, 2, 4]]).all()
        second = method.update(first, data.take_classes("a"))
        assert np.isneginf(second.logits(data.x)[:, [2, 4]]).all()
        assert np.isfinite(second.logits(data.x)[:, [0, 1, 3]]).all()
        assert np.isfinite(first.logits(data.x)[:, [1, 3]]).all()  # the previous model is unchanged
        assert method.update(first, replace(data, y=np.full(len(data), -1))) is first
        with pytest.raises(ValueError, match="the model knows 5 classes, the data 6"):
            method.update(first, Data(data.x, data.y, (*NAMES, "f")))


def test_results_depend_on_the_seed_and_not_the_global_seed():
    for method in (EWC(**SMALL), Replay(distillation_weight=1.0, **SMALL)):
        torch.manual_seed(0)
        one = run_steps(method, steps())[-1].model
        torch.manual_seed(1)
        two = run_steps(method, steps())[-1].model
        for f in fields(one):
            np.testing.assert_array_equal(getattr(one, f.name), getattr(two, f.name))
        other = run_steps(replace(method, seed=3), steps())[-1].model
        assert not np.array_equal(one.hidden_weight, other.hidden_weight)


def test_a_model_can_be_saved_and_then_updated():
    data = draw()
    for method in (Replay(**SMALL), Replay(nearest_mean=True, **SMALL), EWC(**SMALL)):
        model = method.fit(data.take_classes("abc"))
        restored = packed.unpack(*packed.pack({"model": model}))["model"]
        assert count_bytes(restored) == count_bytes(model)
        one, two = (method.update(m, data.take_classes("de")) for m in (model, restored))
        np.testing.assert_array_equal(one.logits(data.x), two.logits(data.x))


def test_invalid_values_raise():
    for kind in (FineTuning, EWC, LwF, Replay):
        for bad in ({"hidden": 0}, {"steps": 0}):
            with pytest.raises(ValueError, match="must be at least 1"):
                kind(**bad)
    for kind in (EWC, LwF):
        with pytest.raises(ValueError, match="strength is nan"):
            kind(strength=float("nan"))
    with pytest.raises(ValueError, match="distillation_weight is -1"):
        Replay(distillation_weight=-1.0)
    with pytest.raises(InputError, match="3 exemplars leave none for some of 5 classes"):
        Replay(exemplars=3, nearest_mean=True, **SMALL).fit(draw())
