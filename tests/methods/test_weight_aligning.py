"""What aligning does to a head, and what clipping and distillation do before it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import log_softmax

from ilk.core.data import Data
from ilk.methods.weight_aligning import WeightAligning, align_weights, compute_norm_ratio
from ilk.protocols import class_tasks
from ilk.training.continual import run_steps

NAMES = tuple("abcde")


def draw(n=200, d=6, seed=0, apart=2.0):
    rng = np.random.default_rng(seed)
    means = apart * np.random.default_rng(9).standard_normal((5, d))
    y = rng.permutation(np.arange(n) % 5)
    return Data((means[y] + rng.standard_normal((n, d))).astype(np.float32), y, NAMES)


def quick(**more):
    return WeightAligning(**({"hidden": 16, "steps": 40, "exemplars": 20} | more))


@pytest.mark.parametrize("clip", [True, False])
def test_new_weights_get_the_old_ones_mean_length_and_nothing_else_changes(clip):
    data = draw()
    before = quick(clip=clip).fit(data.take_classes("abc"))
    plain = quick(clip=clip, align=False).update(before, data.take_classes("de"))
    model = quick(clip=clip).update(before, data.take_classes("de"))
    length = lambda m, rows: np.linalg.norm(m.weight[rows], axis=1).mean()  # noqa: E731
    gamma = length(plain, [0, 1, 2]) / length(plain, [3, 4])
    assert gamma < 0.99 if clip else gamma > 1.01
    np.testing.assert_allclose(model.weight[3:], min(1, gamma) * plain.weight[3:], rtol=1e-5)
    if clip:
        assert length(model, [3, 4]) == pytest.approx(length(model, [0, 1, 2]), rel=1e-5)
    np.testing.assert_array_equal(model.weight[:3], plain.weight[:3])
    for name in ("bias", "hidden_weight", "hidden_bias", "centre", "scale"):
        np.testing.assert_array_equal(getattr(model, name), getattr(plain, name))


def test_new_weights_are_scaled_down_and_never_up():
    weight = np.array([[3, 4], [0, 1], [6, 8], [0.5, 0]], np.float32)
    np.testing.assert_allclose(align_weights(weight, [2], [0, 1])[2], 0.3 * weight[2], rtol=1e-6)
    np.testing.assert_array_equal(align_weights(weight, [3], [0, 1]), weight)
    np.testing.assert_array_equal(align_weights(weight, [2, 3], [0, 1])[:2], weight[:2])


def test_clipped_weights_are_never_below_zero():
    data = draw()
    first = quick().fit(data.take_classes("abc"))
    assert (first.weight >= 0).all()
    assert (quick().update(first, data.take_classes("de")).weight >= 0).all()
    assert (quick(clip=False).fit(data.take_classes("abc")).weight < 0).any()


def test_the_ratio_is_of_mean_lengths():
    new, old = np.array([[3.0, 4.0], [0.0, 1.0]]), np.array([[0.0, 2.0]])
    assert compute_norm_ratio(new, old) == pytest.approx(1.5)
    assert compute_norm_ratio(np.zeros((1, 2)), old) == 1.0


def test_old_and_new_are_weighed_by_their_numbers(monkeypatch):
    """With 3 of 4 classes old, a quarter of the loss is of labels and the rest of old answers."""
    from ilk.training.objectives import distillation

    make_distillation = distillation.make_distillation

    captured = {}

    def capture(increment, weights):
        captured["weights"] = weights
        return make_distillation(increment, weights)

    monkeypatch.setattr(distillation, "make_distillation", capture)
    data = draw()
    quick().update(quick().fit(data.take_classes("abc")), data.take_classes("d"))
    assert captured["weights"] == pytest.approx((0.25, 0.75))


def test_distillation_preserves_the_old_head_outputs_on_new_rows():
    data = draw(apart=1.0)
    before = quick(steps=80).fit(data.take_classes("abcd"))
    new = data.take_classes("e")
    old_logp = log_softmax(before.logits(new.x)[:, :4], axis=1)

    def drift(model):
        new_logp = log_softmax(model.logits(new.x)[:, :4], axis=1)
        return float(np.mean(np.sum(np.exp(old_logp) * (old_logp - new_logp), axis=1)))

    ours = quick(steps=80, align=False, clip=False, exemplars=0)
    from ilk.methods.replay import Replay

    plain = Replay(hidden=16, steps=80, exemplars=0)
    assert drift(ours.update(before, new)) < 0.5 * drift(plain.update(before, new))


def test_one_exemplar_per_class_reduces_forgetting():
    data, test = draw(), draw(seed=1)
    steps = list(class_tasks(data, test, [2, 2, 1], seed=0))
    bare, some = (run_steps(quick(exemplars=m), steps)[-1] for m in (0, 50))
    assert some.old_accuracy > bare.old_accuracy + 0.2
    assert some.memory_bytes - bare.memory_bytes == 50 * (6 * 4 + 8)


def test_rows_of_known_classes_alone_align_nothing_and_no_row_changes_nothing():
    data = draw()
    first = quick().fit(data)
    again = quick().update(first, data)
    assert np.isfinite(again.logits(data.x)).all()
    assert quick().update(first, replace(data, y=np.full(len(data), -1))) is first
    with pytest.raises(ValueError, match="the model knows 5 classes, the data 6"):
        quick().update(first, Data(data.x, data.y, (*NAMES, "f")))
    with pytest.raises(ValueError, match="exemplars -1"):
        WeightAligning(exemplars=-1)


def test_repeated_known_classes_are_learned_from_their_labels():
    """All labels exchanged: what was right before is wrong now, and nothing else tells it so."""
    data = draw()
    relabeled = replace(data, y=(data.y + 1) % 5)
    method = quick(exemplars=0, steps=200)
    model = method.update(method.fit(data), relabeled)
    before, after = (np.mean(model.logits(data.x).argmax(1) == d.y) for d in (data, relabeled))
    assert after > 0.8 > 0.2 > before
