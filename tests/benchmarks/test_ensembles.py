"""The benchmarks of ensembles and intervals: splits, and a small run where the photos are there."""

import json
from importlib.util import find_spec

import numpy as np
import pytest

from benchmarks.ensembles import run as ensembles
from benchmarks.intervals import run as intervals
from benchmarks.runner import shared_path
from ilk.core.errors import Unavailable


def test_a_split_trains_on_a_fixed_number_of_each_class_and_tests_on_all_others():
    photos = [ensembles.Photo(f"{c}{i}", c) for c in "ab" for i in range(7)]
    train, test = ensembles.split_photos(photos, 3, seed=1)
    assert [photo.label for photo in train] == ["a"] * 3 + ["b"] * 3
    assert {*train, *test} == {*photos}
    assert len(test) == 8
    assert ensembles.split_photos(photos, 3, seed=1)[0] == train
    assert ensembles.split_photos(photos, 3, seed=2)[0] != train


def test_intervals_run_small_and_give_json():
    result = json.loads(json.dumps(intervals.run(small=True)))
    assert {row["folds"] for row in result["rows"]} == {"repeated", "one set"}
    for row in result["rows"]:
        assert 0 <= row["coverage"]["low"] <= row["coverage"]["rate"] <= 1
        assert row["width"]["mean"] > 0


def test_the_truth_is_measured_on_other_rows_of_the_same_world():
    train, test = intervals.draw_sample(5, seed=0, distance=50.0)
    assert len(train) == 15
    nearest = ((test.x[:, None] - train.x) ** 2).sum(2).argmin(1)
    assert np.mean(train.y[nearest] == test.y) == 1


def test_ensembles_run_small_and_give_tables():
    try:
        shared_path("data", "pacs_subset")
        shared_path("weights", "mobilenetv2_100.imagenet")
    except Unavailable as reason:
        pytest.skip(str(reason))
    if find_spec("timm") is None:
        pytest.skip("timm is not installed")
    result = json.loads(json.dumps(ensembles.run(small=True)))
    table = result["tables"][0]
    names = {entry["method"] for entry in table["scores"]}
    assert names == {
        ensembles.DEFAULT,
        ensembles.SINGLE,
        ensembles.SKLEARN,
        ensembles.TWO,
        ensembles.TWO_SINGLE,
    }
    assert all(entry["score"]["mean"] > 0.5 for entry in table["scores"])
