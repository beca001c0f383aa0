"""The benchmark of views and ways to resize runs small, and its rows are as stated."""

import json

import numpy as np
from PIL import Image

from benchmarks.whole_images import photos
from benchmarks.whole_images import run as whole_images


def test_small_run_tells_differences_from_its_baseline():
    results = json.loads(json.dumps(whole_images.run(small=True)))
    views, strips = results["tables"][0], results["tables"][-1]
    assert {row["method"] for row in views["scores"]} >= {"plain", "mean of views", "chosen"}
    assert {row["method"] for row in strips["scores"]} >= {"crop", "squash", "letterbox", "chosen"}
    means = {row["method"]: row["score"]["mean"] for row in strips["scores"]}
    for row in strips["differences"]:
        assert row["baseline"] == "crop"
        gain = means[row["method"]] - means["crop"]
        np.testing.assert_allclose(row["difference"]["mean"], gain, atol=1e-12)


def test_strips_have_the_stated_shape_and_pixels_of_the_image():
    x = np.arange(60 * 60, dtype=np.uint8).reshape(60, 60)
    image = Image.fromarray(x).convert("RGB")
    rng = np.random.default_rng(0)
    strips = [photos.cut_strip(image, 2.0, rng) for _ in range(20)]
    assert {strip.size for strip in strips} == {(60, 30), (30, 60)}
    for strip in strips:
        part = np.asarray(strip)[..., 0]
        whole = x if strip.width == 60 else x.T
        part = part if strip.width == 60 else part.T
        assert any(np.array_equal(part, whole[i : i + 30]) for i in range(31))


def test_views_of_a_training_image_are_rows_of_one_group_and_class():
    few = photos.read_digit_images()
    views = photos.encode_views(few)
    data = whole_images._stack_views(views[[3, 40]], few, np.array([3, 40]))
    assert data.y.tolist() == [0] * 6 + [1] * 6
    assert data.group.tolist() == [0] * 6 + [1] * 6
    np.testing.assert_array_equal(data.x[6], views[40, 0])
