"""The benchmark of explanations: its canvases, and a small run."""

import numpy as np
import pytest

from benchmarks.runner import shared_path
from ilk.core.errors import Unavailable


@pytest.fixture(autouse=True)
def _needs_shared_data():
    try:
        shared_path("data", "mnist")
        shared_path("data", "fashion_mnist")
    except Unavailable as error:
        pytest.skip(str(error))


def test_a_canvas_holds_its_digit_where_the_mask_says_and_distractors_elsewhere():
    from benchmarks.explanations.canvases import SIDE, draw_canvases

    data = draw_canvases(12, 0, "test")
    again = draw_canvases(12, 0, "test")
    np.testing.assert_array_equal(data.images, again.images)
    assert data.images.shape == data.masks.shape == (12, SIDE, SIDE)
    for image, mask in zip(data.images, data.masks, strict=True):
        assert 0.02 < mask.mean() < 0.25
        assert image[mask].max() > 200


def test_every_explainer_is_measured_beside_controls():
    from benchmarks.explanations.run import CONTROLS, explain_canvases, make_tables, summarize_seeds

    found = explain_canvases(600, 2, 8, 0)
    assert {"occlusion", "rise", "grad-cam", *CONTROLS} <= set(found["rows"])
    summary = summarize_seeds([found])
    assert set(summary["verdicts"]) == {"maps on the digit", "maps off the digit", *CONTROLS}
    assert set(summary["explainers"]["rise"]["randomization"]) == {"head", "network"}
    assert len(make_tables([found])) == 3
