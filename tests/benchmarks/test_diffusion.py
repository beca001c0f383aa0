"""The benchmarks of diffusion models: honest splits, nothing measured twice, true tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import diffusion_setup as common
from benchmarks.diffusion_cost import run as diffusion_cost
from benchmarks.diffusion_digits import run as diffusion_digits
from benchmarks.diffusion_inside import run as diffusion_inside
from benchmarks.diffusion_tuning.official_test import load_fresh_test
from ilk.core.errors import Unavailable
from ilk.diffusion.checkpoint import checkpoint
from ilk.training.trainer import Batch
from tools.docs.benchmark_pages import build_readme_blocks
from tools.docs.plots import draw


def rows(batch):
    return {x.numpy().tobytes() for x in batch.x}


@pytest.mark.parametrize("fraction", [0.0, 0.25])
def test_splits_of_digits_partition_the_images(fraction):
    dataset = common.load_digit_images(1, fraction)
    parts = [rows(dataset.train), rows(dataset.validation), rows(dataset.test)]
    assert sum(len(p) for p in parts) == len(set.union(*parts))
    assert sum(len(p) for p in (dataset.train, dataset.validation, dataset.test)) == 1797
    assert len(dataset.test) == 540
    assert len(dataset.validation) == int(np.ceil(fraction * 1257))


@pytest.mark.parametrize("folder", sorted(common.WEIGHTS_DIR.iterdir()), ids=lambda f: f.name)
def test_the_weights_that_lie_here_can_be_read(folder):
    network = checkpoint.load(folder)
    assert all(bool(p.isfinite().all()) for p in network.parameters())


def test_other_test_images_of_usps_are_no_training_images():
    pytest.importorskip("h5py")
    try:
        dataset = common.load_usps_images()
    except Unavailable:
        pytest.skip("the shared data are not here")
    assert [len(b) for b in (dataset.train, dataset.validation, dataset.test)] == [6291, 1000, 2007]
    assert len(rows(dataset.validation) & rows(dataset.train)) < 50  # a few digits occur twice
    assert dataset.train.x.max() == 255


def test_finished_parts_are_cached(tmp_path, monkeypatch):
    monkeypatch.setenv("ILK_TRIALS", str(tmp_path / "trials"))
    calls = []
    compute = lambda: calls.append(1) or {"a": 0.5}  # noqa: E731
    assert (
        common.load_or_compute("x", compute) == common.load_or_compute("x", compute) == {"a": 0.5}
    )
    assert len(calls) == 1


def test_all_weights_of_the_benchmarks_can_be_loaded():
    folders = sorted(path.parent for path in common.WEIGHTS_DIR.glob("*/diffusion.json"))
    assert folders
    for folder in folders:
        network = checkpoint.load(folder)
        is_unlabelled = "unlabelled" in folder.name
        assert len(network.classes) == (0 if is_unlabelled else 10), folder


def test_fresh_test_images_are_those_that_the_others_leave_out():
    try:
        fresh = load_fresh_test("fashion", 3)
    except Unavailable as missing:
        pytest.skip(str(missing))
    assert torch.bincount(fresh.y).tolist() == [3] * 10
    assert not rows(fresh) & rows(common.load_fashion_images().test)


def test_take_balanced_takes_equally_many_of_each_class():
    dataset = common.load_digit_images(0).test
    some = common.take_balanced(dataset, 50)
    assert torch.bincount(some.y).tolist() == [5] * 10
    assert rows(some) < rows(dataset)


def test_shots_are_drawn_evenly_from_the_training_part():
    dataset = common.load_digit_images(0).train
    some = diffusion_digits.sample_shots(dataset, 3, seed=5)
    assert torch.bincount(some.y).tolist() == [3] * 10
    assert rows(some) <= rows(dataset)
    assert diffusion_digits.sample_shots(dataset, 0, seed=5) is dataset


def test_an_untrained_network_is_not_the_identity():
    dataset = common.load_digit_images(0)
    network = common.make_untrained(dataset, common.make_digits_config(0))
    silent = [
        name
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Conv2d) and not bool(module.weight.any())
    ]
    assert silent == []


def test_regression_on_pixels_reads_digits():
    dataset = common.load_digit_images(0)
    x, x_test = diffusion_digits.flatten(dataset.train), diffusion_digits.flatten(dataset.test)
    score = diffusion_digits.score_regression(x, dataset.train.y.numpy(), x_test, dataset.test.y)
    assert 0.94 < score < 0.99


def test_cost_tables_hold_means_over_seeds_and_plots_that_can_be_drawn():
    def seed(accuracy):
        row = {"seed": 0, "images": 3, "seconds": 0.1}
        return [
            {**row, "strategy": "all classes, 1 levels", "accuracy": accuracy, "calls": 10.0},
            {**row, "strategy": "race, error rate 0.01", "accuracy": accuracy, "calls": 14.0},
            {
                "strategy": "one random noise",
                "accuracy": 0.5,
                "95th percentile": 0.6,
                "calls": 10.0,
                "noises": [0.4, 0.5, 0.6],
            },
            {**row, "strategy": "optimised noise, level chosen", "accuracy": 0.7, "calls": 10.0},
        ]

    results = diffusion_cost._summarize_seeds("digits", [seed(0.9), seed(0.7)])
    first = results["digits"]["means"][0]
    assert first["accuracy"]["mean"] == pytest.approx(0.8)
    assert all("noises" not in row for row in results["digits"]["seeds"])
    assert all(draw(spec).startswith(b"<?xml") for spec in results["plots"])


def test_inside_tables_name_the_best_point_of_the_mean_map():
    seed = {
        "shared": [0.5] * 5,
        "own": [0.2] * 5,
        "levels": [[0.1, 0.3], [1.0, 0.9]],
        "blocks": [1, 2, 3],
        "sigmas": [0.1, 0.4],
        "heat": [[0.5, 0.6], [0.7, 0.95], [0.6, float("nan")]],
        "best": "block=2",
        "noise fraction of the features": 0.01,
        "heads": [{"head": "linear", "pool": 1, "accuracy": 0.9}],
    }
    results = diffusion_inside._summarize_seeds("digits", [seed, seed])
    best = results["digits"]["best point of the mean map"]
    assert (best["block"], best["sigma"], best["accuracy"]) == (2, 0.4, pytest.approx(0.95))
    assert all(draw(spec).startswith(b"<?xml") for spec in results["plots"])


def test_the_readme_shows_what_was_measured():
    at = "accuracy on test, mean and 95 % interval over seeds"
    digits = {"diffusion classifier": {"mean": 0.99, "half_width": 0.01}}
    empty = {
        "rows": [{"faults": True, "seed": 0, "leaderboard": []}],
        "mean and 95 % interval over seeds": {},
    }
    dataset = {
        "digits": {"result": empty, "command": ""},
        "diffusion_digits": {"result": {at: digits}},
        "diffusion_fashion": {"result": {"diffusion classifier": 0.9}},
    }
    block = build_readme_blocks(dataset)["diffusion"]
    assert "| diffusion classifier | 0.990 ± 0.010 | 0.900 |" in block
    assert block.count("\n") == 2


def test_batches_are_in_the_unit_range():
    x = common.scale_images(
        Batch(torch.tensor([[[[0, 255]]]], dtype=torch.uint8), torch.tensor([0]))
    )
    np.testing.assert_array_equal(x.numpy(), [[[[-1.0, 1.0]]]])
