"""Canvases are what they say; the benchmark of maps runs small, and its figures are correct."""

import json

import numpy as np
import pytest

from benchmarks.canvas import SIDE, make_canvases
from benchmarks.explain_maps import fidelity, input_gradients, maps, run, vale
from benchmarks.runner import shared_path
from ilk.core.errors import Unavailable

try:
    shared_path("data", "mnist")
except Unavailable as error:
    pytest.skip(str(error), allow_module_level=True)


def test_canvases_are_what_they_say():
    canvases = make_canvases(30, 0, "test")
    again = make_canvases(30, 0, "test")
    np.testing.assert_array_equal(canvases.x, again.x)
    assert canvases.x.shape == (30, 1, SIDE, SIDE)
    for i in range(30):
        left, top, right, bottom = canvases.box[i]
        inside = np.zeros((SIDE, SIDE), bool)
        inside[top:bottom, left:right] = True
        assert not (canvases.ink[i] & ~inside).any()
        assert canvases.x[i, 0][canvases.ink[i]].min() > 0.25
        assert canvases.mask[i][canvases.ink[i]].all()
        assert not (canvases.ink[i] & canvases.others[i] & ~canvases.mask[i]).any()
    assert set(canvases.n_distractors) <= {0, 1, 2, 3}
    plain = make_canvases(20, 0, textured=False, max_distractors=0)
    assert (plain.x[:, 0][~plain.ink] <= 0.26).all()
    assert not plain.others.any()


def test_training_and_test_canvases_hold_other_digits():
    one, other = make_canvases(40, 0, "train"), make_canvases(40, 0, "test")
    assert not (one.y == other.y).all()


def test_distractors_touch_where_asked():
    canvases = make_canvases(40, 1, touching=True)
    near = (canvases.mask & canvases.others).any((1, 2))
    assert near.mean() > 0.5
    assert canvases.n_distractors.max() > 0


def test_a_perfect_map_has_perfect_scores_of_place():
    canvases = make_canvases(10, 2)
    perfect = canvases.mask.astype(np.float32)
    assert fidelity.point_at(canvases, perfect).all()
    expected = np.mean(1 / canvases.mask.mean((1, 2)))
    assert fidelity.measure_mass(canvases, perfect) == pytest.approx(expected, rel=1e-5)
    flat = np.ones_like(perfect)
    assert fidelity.measure_mass(canvases, flat) == pytest.approx(1)
    assert vale.measure_overlap(canvases.ink, canvases.ink) == 100
    assert vale.measure_overlap(~canvases.ink, canvases.ink) == 0


def test_true_statements_of_the_digit_itself():
    canvases = make_canvases(12, 3)
    right = vale.check_statements(canvases, canvases.ink, canvases.y, False, 0)
    assert right == {"class": 100, "place": 100, "size": 100}
    wrong = vale.check_statements(canvases, canvases.ink, canvases.y, True, 0)
    assert wrong["place"] < 60


def test_masks_keep_half_and_blocks_hold_the_digit_where_they_say():
    assert maps.draw_masks(300, 0).mean() == pytest.approx(0.5, abs=0.03)
    x, y, inside = input_gradients.make_blocks(20, 0, "train")
    assert inside.mean() == 0.5
    assert set(y) == {0, 1}
    null = x[~inside].reshape(20, -1)
    assert (null == null[0]).all()
    _, _, fixed = input_gradients.make_blocks(20, 0, "train", is_fixed=True)
    assert fixed.reshape(20, 56, 28)[:, :28].all()


def test_small_run_gives_json():
    result = json.loads(json.dumps(run.run(small=True)))
    entries = {claim["entry"] for table in result["tables"] for claim in table["claims"]}
    assert entries == {"t-tame", "diffroar-input-gradients", "vale-visual-language-explanation"}
    assert len(result["verdicts"]) == sum(len(t["claims"]) for t in result["tables"])
    assert all("seeds)" in verdict for verdict in result["verdicts"])
    assert result["passes per map"]["T-TAME"] == 1
