"""The benchmark of several labels runs small; ours is at least as good as the baseline."""

import json

import numpy as np

from benchmarks.several_labels import run as several_labels
from benchmarks.several_labels.data import draw_digits


def test_it_runs_small_and_ours_is_not_behind():
    results = json.loads(json.dumps(several_labels.run(small=True)))
    assert [table["metric"] for table in results["tables"]] == [
        "mean average precision",
        "macro F1",
        "calibration error",
    ]
    for key, difference in results["differences"].items():
        if "mean average precision" in key:
            assert difference["mean"] > -0.02


def test_composites_hold_none_one_or_two_labels():
    data = draw_digits(0, 300, 10)
    counts = np.bincount(data.train.targets.sum(1))
    assert len(counts) == 3
    assert counts.min() > 0
    assert data.train.x.shape == (300, 128)
