"""The benchmarks of the heads run small, and their figures are correct."""

import json

import numpy as np

from benchmarks.gda_clip import run as gda_clip
from benchmarks.heads import run as heads


def test_heads_run_small_and_give_json():
    results = json.loads(json.dumps(heads.run(small=True)))
    gda = results["gda"]
    quotients = np.divide(gda["fit_seconds"], gda["product_seconds"])
    assert gda["fit_over_product"] == np.median(quotients) > 0
    for name in ("simulated", "digits"):
        one = results["logistic_regression"][name]
        assert one["times_faster"]["scikit_learn"] > 0
        assert abs(np.log(one["log_loss_over_theirs"]["scikit_learn"])) < 0.2
        assert one["seconds_over_floor"] > 1


def test_few_labels_run_small_and_their_differences_are_paired():
    results = json.loads(json.dumps(gda_clip.run(small=True)))["digits"]
    four = results["shots"]["4"]
    less = four["accuracy GDA(uniform=True)"][0] - four["accuracy NearestClassMean()"][0]
    np.testing.assert_allclose(four["GDA minus nearest mean"][0], less, atol=2e-5)
    assert four["accuracy GDA(uniform=True)"][0] > 0.7
    assert four["alpha 0.0001"][0] - four["accuracy ZeroShot()"][0] < 0.02
    one = results["shots"]["1"]
    assert len({tuple(one[f"precision {p}"]) for p in ("OAS", "Ledoit-Wolf", "pinv")}) == 1


def test_what_is_tested_is_never_trained_on():
    x, y = gda_clip.read_digits()
    x = np.column_stack([x, np.arange(len(x))]).astype(np.float32)  # the last column is the row
    draw = gda_clip._make_draw(x, y, 16, 0)
    rows = [set(part.x[:, -1]) for part in (draw.train, draw.test, draw.unlabelled)]
    assert sum(map(len, rows)) == len(set.union(*rows))
    assert len(rows[0]) == 160
