"""A copy agrees with its original where it lies; different pictures do not agree."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from helpers.drawn_pictures import draw
from ilk.deduplication.alignment import align
from ilk.deduplication.details import correlate, remove_surroundings
from ilk.deduplication.orientations import find_orientations, orient
from ilk.deduplication.picture import Picture, reduce_picture
from ilk.images.inspection.pixel_summary import SIDE


def compare(first: Image.Image, second: Image.Image):
    return align(Picture(reduce_picture(first)), Picture(reduce_picture(second)))


@pytest.mark.parametrize(
    ("copy", "share", "mirrored"),
    [
        (lambda i: i.resize((40, 30)), 1.0, False),
        (lambda i: ImageOps.mirror(i), 1.0, True),
        (lambda i: i.crop((12, 6, 84, 60)), 0.5625, False),
        (lambda i: ImageOps.mirror(i).crop((0, 0, 48, 36)), 0.25, True),
        (lambda i: i.rotate(5, Image.Resampling.BICUBIC), None, False),
        (lambda i: i.resize((96, 96)), 1.0, False),  # another shape
        (lambda i: ImageOps.invert(ImageOps.invert(i)).point(lambda v: v // 2 + 60), 1.0, False),
    ],
)
def test_copies_agree(copy, share, mirrored):
    original = draw(1)
    for pair in ((original, copy(original)), (copy(original), original)):
        found = compare(*pair)
        assert found.correlation > 0.85
        assert found.is_mirrored == mirrored
        if share is not None:
            assert found.share == pytest.approx(share, abs=0.07)


def test_different_pictures_do_not_agree():
    found = [compare(draw(i), draw(i + 50)) for i in range(8)]
    assert max(a.correlation for a in found) < 0.75
    assert max(a.fine for a in found) < 0.5


def test_blank_pictures_agree_with_nothing():
    blank = Image.new("RGB", (50, 40), (90, 10, 200))
    assert compare(blank, Image.new("RGB", (50, 40), (91, 10, 200))).correlation == 0
    assert compare(blank, draw(0)).correlation == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (3000, 2), (9, 7)])
def test_odd_shapes(size):
    found = compare(draw(0).resize(size), draw(1))
    assert -1 <= found.correlation <= 1


def test_surroundings_are_means_of_squares():
    x = np.random.default_rng(0).normal(size=(12, 9)).astype(np.float32)
    direct = np.array(
        [
            [x[i, j] - x[max(i - 2, 0) : i + 3, max(j - 2, 0) : j + 3].mean() for j in range(9)]
            for i in range(12)
        ]
    )
    assert remove_surroundings(x, 2) == pytest.approx(direct, abs=1e-4)


def test_correlation_is_numpys():
    rng = np.random.default_rng(1)
    x, windows = 30 * rng.normal(size=(6, 5)), 30 * rng.normal(size=(4, 6, 5))
    got = correlate(windows.astype(np.float32), x.astype(np.float32))
    assert got == pytest.approx(
        [np.corrcoef(x.ravel(), w.ravel())[0, 1] for w in windows], abs=1e-4
    )


def test_all_eight_orientations_end_in_one():
    thumbnail = np.asarray(draw(3).resize((SIDE, SIDE)))
    ends = set()
    for code in range(8):
        turned = orient(thumbnail, code)
        ends.add(orient(turned, int(find_orientations(turned[None])[0])).tobytes())
    assert len(ends) == 1
