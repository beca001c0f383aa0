"""Photos, sketches and skeletons are what they say, and the benchmark of sketches runs small."""

import numpy as np
from scipy.ndimage import label

from benchmarks.sketch_world import draw_edges, draw_skeletons, make_photos, make_sketches, thin
from benchmarks.sketches import run as sketches


def make_shapes():
    bar, ring = np.zeros((2, 28, 28), np.float32)
    bar[12:17, 4:24] = 1
    rows, columns = np.mgrid[:28, :28]
    ring[np.abs(np.hypot(rows - 13.5, columns - 13.5) - 8) < 2] = 1
    return np.stack([bar, ring])


def test_a_skeleton_is_thin_connected_and_keeps_holes():
    skeletons = thin(make_shapes() > 0)
    for skeleton, holes in zip(skeletons, (1, 2), strict=True):
        assert label(skeleton, np.ones((3, 3)))[1] == 1
        assert label(~skeleton)[1] == holes  # the ground, and the inside of the ring
        squares = skeleton[:-1, :-1] & skeleton[1:, :-1] & skeleton[:-1, 1:] & skeleton[1:, 1:]
        assert squares.sum() <= 2
    rows = np.flatnonzero(skeletons[0].any(1))
    assert set(rows) == {14}
    assert np.array_equal(thin(skeletons), skeletons)


def test_sketches_without_wobble_are_skeletons_and_differ_with_it():
    shapes, rng = make_shapes(), np.random.default_rng(0)
    plain = make_sketches(shapes, rng, 0)
    assert (plain[thin(shapes > 0)] > 0.5).all()
    assert not np.allclose(make_sketches(shapes, rng), make_sketches(shapes, rng), atol=0.1)


def test_a_skeleton_of_a_photo_is_that_of_the_shape_and_edges_are_beside_it():
    shapes, rng = make_shapes(), np.random.default_rng(3)
    photos = make_photos(shapes, rng)
    assert photos.shape == (2, 3, 28, 28)
    found, edges = draw_skeletons(photos), draw_edges(photos)
    assert (found[0] > 0.5).any(1).nonzero()[0].tolist() in ([13], [14], [13, 14], [14, 15])
    assert edges[0, 10:13, 8:20].mean() > 3 * edges[0, 13:16, 8:20].min()


def test_a_small_run_has_all_arms():
    result = sketches.run(small=True)
    assert [t["metric"] for t in result["tables"]] == ["recall at 1", "recall at 10"]
    for table in result["tables"]:
        assert len(table["scores"]) == 7
        assert len(table["claims"]) == 7
