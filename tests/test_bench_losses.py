"""The benchmark of losses runs small; its rivals differ in what they say they differ in."""

import json

import numpy as np
import torch

from ilk.bench import _drawn_losses, _masks, losses
from ilk.methods.ensloss import margins
from ilk.methods.multi_sample_dropout import MultiSampleDropout
from ilk.pages.plot_spec import checked
from ilk.training.heads import Head, batch
from ilk.training.loop import Recipe


def test_it_runs_small_and_gives_json_and_pictures():
    told = json.loads(json.dumps(losses.run(small=True), allow_nan=False))
    assert told["left out"] == []
    one, mean, *masks = told["tables"]
    assert one["scores"] == mean["scores"]  # the mean over a single set
    assert len(one["scores"]) == 5
    assert all(0.8 < s["score"]["mean"] <= 1 for s in one["scores"])
    assert [t["better"] for t in masks] == ["lower"] * 4
    reached = {s["method"]: s["score"]["mean"] for s in masks[0]["scores"]}
    assert reached["M = 8"] == reached[_masks.COPIES]  # the same loss, paid otherwise
    for plot in told["plots"]:
        checked(plot)


def test_copies_of_rows_are_the_same_loss_as_masks():
    cut = _masks.drawn("digits", 0)
    net = Head.of(cut.train)
    part = batch(net, cut.train.rows(np.arange(20)))
    one, other = (
        objective(net, part, torch.Generator().manual_seed(4)).item()
        for objective in (
            MultiSampleDropout(5, 0.4).objective,
            _masks.repeated(MultiSampleDropout(1, 0.4), 5),
        )
    )
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_the_first_look_below_a_level_is_found_or_the_last():
    held = _masks.Course(
        np.array([5, 10, 15]), np.array([2.0, 0.9, 1.1]), np.array([1.0, 2, 3]), 0.1
    )
    assert [held.first(level) for level in (3.0, 1.0, 0.9, 0.5)] == [0, 1, 1, 2]


def test_a_course_looks_as_often_as_told_and_comes_down():
    cut = _masks.drawn("digits", 1)
    rows = {tuple(r) for r in cut.train.x}
    assert not rows & {tuple(r) for r in cut.test.x}
    assert not rows & {tuple(r) for r in _masks.drawn("digits", 1, held=True).test.x}
    held = _masks.course(cut, MultiSampleDropout(2).objective, Recipe(30, 64, 4e-3, 5), 10)
    assert held.updates.tolist() == [10, 20, 30]
    assert held.losses[0] > held.losses[-1]
    assert (np.diff(held.seconds) > 0).all()
    assert held.error < 0.3


def test_fixed_losses_are_those_of_the_margin():
    z = torch.tensor([-2.0, 0.0, 0.5, 3.0], dtype=torch.float64)
    told = {name: loss(z).numpy() for name, loss in _drawn_losses.FIXED.items()}
    np.testing.assert_allclose(told["logistic loss"], np.log1p(np.exp(-z.numpy())))
    np.testing.assert_allclose(told["hinge loss"], [3, 1, 0.5, 0])
    np.testing.assert_allclose(told["exponential loss"], np.exp(-z.numpy()))
    logits = torch.tensor([[1.0, 3.0], [0.5, -1.0]])
    assert margins(logits, torch.tensor([1, 0])).tolist() == [2.0, 1.5]


def test_a_pair_holds_its_two_classes_and_no_row_twice():
    cut = _drawn_losses.drawn("digits 8 and 9", 3)
    assert cut.train.classes == ("8", "9")
    assert cut.train.counts().tolist() == [30, 30]
    assert not {tuple(r) for r in cut.train.x} & {tuple(r) for r in cut.test.x}
    assert len(cut.train) + len(cut.test) == 174 + 180
