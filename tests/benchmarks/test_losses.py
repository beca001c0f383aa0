"""The benchmark of losses runs small; its methods differ only in what is compared."""

import json

import numpy as np
import torch

from benchmarks.losses import dropout_masks, random_losses
from benchmarks.losses import run as losses
from helpers.small_training import make_step
from ilk.methods.multi_sample_dropout import MultiSampleDropout
from ilk.training.heads import Head, make_batch
from ilk.training.objectives.convex_ensemble import compute_margins
from ilk.training.trainer import Recipe
from tools.docs.plot_spec import check_spec


def test_small_run_gives_json_and_plots():
    results = json.loads(json.dumps(losses.run(small=True), allow_nan=False))
    assert results["left out"] == []
    one, mean, *masks = results["tables"]
    assert one["scores"] == mean["scores"]  # the mean over a single set
    assert len(one["scores"]) == 5
    assert all(0.8 < s["score"]["mean"] <= 1 for s in one["scores"])
    assert [t["better"] for t in masks] == ["lower"] * 8
    for table in masks[::4]:
        reached = {s["method"]: s["score"]["mean"] for s in table["scores"]}
        assert reached["M = 8"] == reached[dropout_masks.REPEATED_ROWS]  # one loss, paid otherwise
    for plot in results["plots"]:
        check_spec(plot)


def test_copies_of_rows_are_the_same_loss_as_masks():
    cut = dropout_masks.draw_split("digits", 0)
    net = Head.from_data(cut.train)
    part = make_batch(net, cut.train.take(np.arange(20)))
    one, other = (
        objective(net, part, make_step(generator=torch.Generator().manual_seed(4))).item()
        for objective in (
            MultiSampleDropout(5, 0.4).make_objective(),
            dropout_masks.repeat_rows(MultiSampleDropout(1, 0.4), 5),
        )
    )
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_find_level_returns_the_first_checkpoint_below_or_the_last():
    curve = dropout_masks.TrainingCurve(
        np.array([5, 10, 15]), np.array([2.0, 0.9, 1.1]), np.array([1.0, 2, 3]), 0.1
    )
    assert [curve.find_level(level) for level in (3.0, 1.0, 0.9, 0.5)] == [0, 1, 1, 2]


def test_a_curve_has_its_checkpoints_and_falls():
    cut = dropout_masks.draw_split("digits", 1)
    rows = {tuple(r) for r in cut.train.x}
    assert not rows & {tuple(r) for r in cut.test.x}
    assert not rows & {
        tuple(r) for r in dropout_masks.draw_split("digits", 1, for_validation=True).test.x
    }
    curve = dropout_masks.measure_curve(
        cut,
        MultiSampleDropout(2),
        MultiSampleDropout(2).make_objective(),
        Recipe(30, 64, 4e-3, 5),
        10,
    )
    assert curve.updates.tolist() == [10, 20, 30]
    assert curve.losses[0] > curve.losses[-1]
    assert (np.diff(curve.seconds) > 0).all()
    assert curve.test_error < 0.3


def test_fixed_losses_equal_their_formulas():
    z = torch.tensor([-2.0, 0.0, 0.5, 3.0], dtype=torch.float64)
    results = {name: loss(z).numpy() for name, loss in random_losses.FIXED_LOSSES.items()}
    np.testing.assert_allclose(results["logistic loss"], np.log1p(np.exp(-z.numpy())))
    np.testing.assert_allclose(results["hinge loss"], [3, 1, 0.5, 0])
    np.testing.assert_allclose(results["exponential loss"], np.exp(-z.numpy()))
    logits = torch.tensor([[1.0, 3.0], [0.5, -1.0]])
    assert compute_margins(logits, torch.tensor([1, 0])).tolist() == [2.0, 1.5]


def test_a_pair_has_two_classes_and_no_row_twice():
    cut = random_losses.draw_split("digits 8 and 9", 3)
    assert cut.train.classes == ("8", "9")
    assert cut.train.count_labels().tolist() == [30, 30]
    assert not {tuple(r) for r in cut.train.x} & {tuple(r) for r in cut.test.x}
    assert len(cut.train) + len(cut.test) == 174 + 180
