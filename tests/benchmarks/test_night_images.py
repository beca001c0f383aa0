"""Night has structure, its imitations are what they say, and the benchmark runs small."""

import numpy as np
import torch

from benchmarks.night_images import run as night_images
from benchmarks.night_world import (
    darken,
    equalize_adaptively,
    match_histograms,
    render_day,
    render_night,
)
from ilk.training.trainer import Batch


def make_day(n=20):
    rng = np.random.default_rng(0)
    ink = np.zeros((n, 28, 28), np.float32)
    ink[:, 8:20, 12:15] = 1
    return render_day(ink, rng), rng


def test_night_is_dark_and_no_curve_of_brightness():
    day, rng = make_day()
    night = render_night(day, rng)
    assert night.mean() < 0.8 * day.mean()
    for pair in zip(day, night, strict=True):
        order = np.argsort(pair[0].ravel())
        assert np.mean(np.diff(pair[1].ravel()[order]) < 0) > 0.3  # not monotone
    dark = darken(day, rng)
    for one, other in zip(day, dark, strict=True):
        order = np.argsort(one.ravel())
        assert (np.diff(other.ravel()[order]) >= 0).all()


def test_a_matched_image_has_the_values_of_a_night_image_in_the_order_of_day():
    day, rng = make_day(5)
    night = render_night(day, rng)
    matched = match_histograms(day, night, rng)
    values = {tuple(np.sort(x.ravel())) for x in night}
    for one, other in zip(day, matched, strict=True):
        assert tuple(np.sort(other.ravel())) in values
        order = np.argsort(one.ravel(), kind="stable")
        assert (np.diff(other.ravel()[order]) >= 0).all()


def test_equalization_spreads_a_narrow_range_and_keeps_shape():
    day, _ = make_day()
    narrow = 0.2 + 0.1 * day
    wide = equalize_adaptively(narrow)
    assert wide.shape == narrow.shape
    assert np.ptp(wide) > 3 * np.ptp(narrow)
    assert wide.min() >= 0
    assert wide.max() <= 1 + 1e-6


def test_a_positive_is_another_day_image_of_the_class():
    y = torch.arange(12) // 3
    day = torch.arange(12.0)[:, None, None, None].expand(12, 1, 2, 2)
    augment = night_images.add_positives(day, y, -day - 1)
    rows = torch.tensor([0, 4, 8, 11])
    n_dark = 0
    for seed in range(50):
        batch = Batch(day[rows], y[rows], rows)
        out = augment(batch, torch.Generator().manual_seed(seed))
        assert torch.equal(out.y, torch.cat([y[rows], y[rows]]))
        positives = out.x[4:, 0, 0, 0].long()
        assert (positives != rows).all()
        assert torch.equal(y[positives], y[rows])
        anchors = out.x[:4, 0, 0, 0]
        assert ((anchors == rows) | (anchors == -rows - 1)).all()
        n_dark += int((anchors < 0).sum())
    assert 25 < n_dark < 80  # a quarter of 200


def test_a_small_run_has_all_arms():
    result = night_images.run(small=True)
    assert len(result["tables"]) == 2
    for table in result["tables"]:
        assert len(table["scores"]) == 9
