"""The benchmark of tracks runs small; frames drift and start from the image."""

import json

import numpy as np
import pytest
import torch

from benchmarks.runner import shared_path
from benchmarks.track_matching import run as tracks
from benchmarks.track_matching.sequences import draw_walks, drift_images
from ilk.core.errors import Unavailable


def test_small_run_gives_json():
    try:
        shared_path("data", "omniglot_small")
    except Unavailable as error:
        pytest.skip(str(error))
    result = json.loads(json.dumps(tracks.run(small=True), allow_nan=False))
    assert len(result["tables"]) == 2 + 1  # of histories of 2 and 10 frames, one is a table
    assert len(result["plots"]) == 2


def test_a_walk_of_zeros_leaves_an_image_as_it_is_and_walks_are_stationary():
    image = torch.rand(2, 1, 28, 28)
    frames = drift_images(image, np.zeros((2, 3, 5))).reshape(2, 3, 28, 28)
    torch.testing.assert_close(frames, image.expand(2, 3, 28, 28), atol=1e-5, rtol=0)
    walk = draw_walks(np.random.default_rng(0), 400, 30)
    assert np.allclose(walk.std((0, 2)), 1, atol=0.1)
    assert np.corrcoef(walk[:, 0].ravel(), walk[:, 10].ravel())[0, 1] == pytest.approx(
        0.28, abs=0.1
    )


def test_matching_is_one_to_one():
    x = np.eye(4)
    assert tracks.match_cosine(x, x) == 1.0
    assert tracks.match_cosine(x, x[[1, 0, 2, 3]]) == 0.5
