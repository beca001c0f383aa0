"""The benchmarks of diffusion models: honest splits, nothing measured twice, true tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ilk.bench import _diffusion as common
from ilk.bench import diffusion_cost, diffusion_digits, diffusion_inside
from ilk.pages.measured import readme_blocks
from ilk.pages.plots import draw
from ilk.training.loop import Batch


def rows(batch):
    return {x.numpy().tobytes() for x in batch.x}


@pytest.mark.parametrize("held", [0.0, 0.25])
def test_parts_of_digits_share_no_image_and_lose_none(held):
    found = common.digits(1, held)
    parts = [rows(found.train), rows(found.held), rows(found.test)]
    assert sum(len(p) for p in parts) == len(set.union(*parts))
    assert sum(len(p) for p in (found.train, found.held, found.test)) == 1797
    assert len(found.test) == 540
    assert len(found.held) == int(np.ceil(held * 1257))


def test_what_was_measured_is_not_measured_again(tmp_path, monkeypatch):
    monkeypatch.setenv("ILK_TRIALS", str(tmp_path / "trials"))
    calls = []
    made = lambda: calls.append(1) or {"a": 0.5}  # noqa: E731
    assert common.kept("x", made) == common.kept("x", made) == {"a": 0.5}
    assert len(calls) == 1


def test_first_takes_as_many_of_each_class():
    found = common.digits(0).test
    some = common.first(found, 50)
    assert torch.bincount(some.y).tolist() == [5] * 10
    assert rows(some) < rows(found)


def test_shots_are_drawn_evenly_from_the_training_part():
    found = common.digits(0).train
    some = diffusion_digits.drawn_shots(found, 3, seed=5)
    assert torch.bincount(some.y).tolist() == [3] * 10
    assert rows(some) <= rows(found)
    assert diffusion_digits.drawn_shots(found, 0, seed=5) is found


def test_an_untrained_network_does_not_hand_pictures_through():
    found = common.digits(0)
    network = common.untrained(found, common.digits_plan(0))
    silent = [
        name
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Conv2d) and not bool(module.weight.any())
    ]
    assert silent == []


def test_regression_on_pixels_reads_digits():
    found = common.digits(0)
    x, x_test = diffusion_digits.flat(found.train), diffusion_digits.flat(found.test)
    got = diffusion_digits.regressed(x, found.train.y.numpy(), x_test, found.test.y)
    assert 0.94 < got < 0.99


def test_cost_tables_hold_means_over_seeds_and_plots_that_can_be_drawn():
    def seed(accuracy):
        row = {"seed": 0, "images": 3, "seconds": 0.1}
        return [
            {**row, "way": "all classes, 1 levels", "accuracy": accuracy, "calls": 10.0},
            {**row, "way": "race, error rate 0.01", "accuracy": accuracy, "calls": 14.0},
            {
                "way": "one random noise",
                "accuracy": 0.5,
                "95th percentile": 0.6,
                "calls": 10.0,
                "noises": [0.4, 0.5, 0.6],
            },
            {**row, "way": "one optimised noise (data set)", "accuracy": 0.7, "calls": 10.0},
        ]

    told = diffusion_cost._told("digits", [seed(0.9), seed(0.7)])
    first = told["digits"]["means"][0]
    assert first["accuracy"]["mean"] == pytest.approx(0.8)
    assert all("noises" not in row for row in told["digits"]["seeds"])
    assert all(draw(spec).startswith(b"<?xml") for spec in told["plots"])


def test_inside_tables_name_the_best_place_of_the_mean_map():
    seed = {
        "shared": [0.5] * 6,
        "own": [0.2] * 6,
        "levels": [[0.1, 0.3], [1.0, 0.9]],
        "blocks": [1, 2, 3],
        "sigmas": [0.1, 0.4],
        "heat": [[0.5, 0.6], [0.7, 0.95], [0.6, float("nan")]],
        "best": "block=2",
        "share of features that is noise": 0.01,
        "heads": [{"head": "linear", "pool": 1, "accuracy": 0.9}],
    }
    told = diffusion_inside._told("digits", [seed, seed])
    best = told["digits"]["best place of the mean map"]
    assert (best["block"], best["sigma"], best["accuracy"]) == (2, 0.4, pytest.approx(0.95))
    assert all(draw(spec).startswith(b"<?xml") for spec in told["plots"])


def test_the_readme_shows_what_was_measured():
    at = "accuracy on test, mean and 95 % interval over seeds"
    digits = {"diffusion classifier": {"mean": 0.99, "half_width": 0.01}}
    empty = {
        "rows": [{"trouble": True, "seed": 0, "leaderboard": []}],
        "mean and 95 % interval over seeds": {},
    }
    found = {
        "digits": {"result": empty, "command": ""},
        "diffusion_digits": {"result": {at: digits}},
        "diffusion_fashion": {"result": {"diffusion classifier": 0.9}},
    }
    block = readme_blocks(found)["diffusion"]
    assert "| diffusion classifier | 0.990 ± 0.010 | 0.900 |" in block
    assert block.count("\n") == 2


def test_batches_are_in_the_unit_range():
    x = common.clean(Batch(torch.tensor([[[[0, 255]]]], dtype=torch.uint8), torch.tensor([0])))
    np.testing.assert_array_equal(x.numpy(), [[[[-1.0, 1.0]]]])
