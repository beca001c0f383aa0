"""The search for features: exact cross-validation, and it finds what was planted."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor, nn

from ilk.core.errors import ArtifactError, InputError
from ilk.diffusion.denoiser.external import ExternalDenoiser, Flow
from ilk.diffusion.features.feature_point import FeatureConfig, FeaturePoint
from ilk.diffusion.features.probe import evaluate_probe, predict_held_out, standardize
from ilk.diffusion.features.search import (
    ProbeScore,
    SearchConfig,
    rank_points,
    search,
    subsample_balanced,
)
from ilk.diffusion.features.search_result import (
    FILE,
    FeatureLocation,
    SearchResult,
    read,
    read_selected_point,
    write,
)
from ilk.maths import folds


def rows(n: int = 60, d: int = 7, k: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % k
    return rng.normal(size=(n, d)) + 0.8 * np.eye(k, d)[y], y


@pytest.mark.parametrize("d", [7, 90])
def test_held_out_predictions_are_those_of_refitting_without_the_fold(d: int):
    x, y = rows(d=d)
    x = standardize(x)
    members, parts = np.eye(3)[y], folds.assign_folds(y, 4)
    found = predict_held_out(x, members, parts)
    mean = np.sum((x - x.mean(0)) ** 2) / min(len(x) - 1, d)
    misses = []
    for share in np.logspace(-4, 2, 10):
        by_hand = np.empty_like(members)
        for part in range(4):
            train = parts != part
            ridge = Ridge(share * mean).fit(x[train], members[train])
            by_hand[~train] = ridge.predict(x[~train])
        misses.append(np.abs(by_hand - found).max())
    assert min(misses) < 1e-8
    assert sorted(misses)[1] > 1e-4  # it is one penalty of the path, and no other


def test_the_penalty_is_the_one_that_leaves_one_out_best():
    x, y = rows(n=30)
    x, members = standardize(x), np.eye(3)[y]
    mean = np.sum(x**2) / 7
    errors = []
    for share in np.logspace(-4, 2, 10):
        alone = [
            Ridge(share * mean)
            .fit(np.delete(x, i, 0), np.delete(members, i, 0))
            .predict(x[i : i + 1])
            for i in range(30)
        ]
        errors.append(np.sum((np.concatenate(alone) - members) ** 2))
    best = np.logspace(-4, 2, 10)[int(np.argmin(errors))]
    held = predict_held_out(x, members, np.arange(30))
    refit = Ridge(best * mean).fit(x[1:], members[1:]).predict(x[:1])
    np.testing.assert_allclose(held[:1], refit, atol=1e-8)


def test_the_probe_does_not_see_scales_nor_constant_columns():
    x, y = rows()
    parts = folds.assign_folds(y, 5)
    scaled = x * np.logspace(-6, 6, 7) + 5.0
    with_constant = np.column_stack([x, np.full(60, 3.0)])
    plain = evaluate_probe(x, y, parts)
    for other in (scaled, with_constant):
        assert np.array_equal(evaluate_probe(other, y, parts).is_correct, plain.is_correct)
        assert evaluate_probe(other, y, parts).log_loss == pytest.approx(plain.log_loss, rel=1e-5)
    noise = np.random.default_rng(1).normal(size=(3000, 4))
    y = np.arange(3000) % 3
    nothing = evaluate_probe(noise, y, folds.assign_folds(y, 5))
    assert abs(nothing.is_correct.mean() - 1 / 3) < 0.045  # 5 standard errors
    assert nothing.log_loss == pytest.approx(np.log(3), abs=0.01)


class Planted(nn.Module):
    """Three blocks, of which the second alone shows where the image is bright; told the level."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Identity() for _ in range(3)])
        self.calls = 0

    def forward(self, z: Tensor, time: Tensor, _told: Tensor) -> Tensor:
        self.calls += 1
        blank = torch.ones_like(z) * z.mean((2, 3), keepdim=True)
        clear = time[:, None, None, None] < 400  # at high noise even block 2 is blank
        for i, layer in enumerate(self.layers):
            layer(torch.where(clear, z, blank) if i == 1 else blank)
        return z


def planted() -> tuple[ExternalDenoiser, Tensor, np.ndarray]:
    """Classes differ in where they are bright, not in how much."""
    generator = torch.Generator().manual_seed(0)
    y = np.arange(80) % 4
    x = 0.1 * torch.randn(80, 1, 4, 4, generator=generator)
    for i, c in enumerate(y):
        x[i, 0, 2 * (c // 2) : 2 * (c // 2) + 2, 2 * (c % 2) : 2 * (c % 2) + 2] += 0.5
    return ExternalDenoiser(Planted(), Flow(), (1, 4, 4), (), torch.zeros(1)), x, y


def test_it_finds_the_planted_block_level_and_pooling():
    network, x, y = planted()
    found = search(network, x, y, SearchConfig(sigmas=(0.2, 1.5), pools=(0, 1, 2, 4)))
    assert len(found.locations) == 3 * 2 * 4
    best = {p.point: p.accuracy for p in found.locations}
    assert found.selected_point == FeaturePoint(
        2, 0.2, 2
    )  # 2 x 2 tells all; 4 x 4 is wider and no better
    assert best[found.selected_point] == 1
    blocks, sigmas, heat = found.compute_accuracy_grid()
    assert (blocks, sigmas) == ([1, 2, 3], [0.2, 1.5])
    assert np.argmax(np.ravel(heat)) == 2
    assert np.delete(np.ravel(heat), 2).max() < 0.6
    assert max(np.ravel(found.compute_accuracy_grid(1)[2])) < 0.6
    assert found.n_images == 80


def test_one_pass_a_level_serves_all_blocks_and_poolings():
    network, x, y = planted()
    settings = SearchConfig(sigmas=(0.2, 0.4, 1.5), feature_config=FeatureConfig(batch=40))
    search(network, x, y, settings)
    assert network.network.calls == 1 + 3 * 2  # a blank image, then 2 batches a level


def test_unlabelled_images_are_left_out_and_labels_may_have_any_number():
    network, x, y = planted()
    settings = SearchConfig(sigmas=(0.2,), pools=(2,))
    plain = search(network, x, y, settings)
    more = torch.cat([x, torch.full((9, 1, 4, 4), 0.9)])
    other = search(network, more, np.append(10 * y, [-1] * 9), settings)
    assert other == plain


def test_rows_are_drawn_class_by_class():
    y = np.array([0] * 50 + [1] * 3 + [-1] * 10 + [2] * 20)
    kept = subsample_balanced(y, 20, 0)
    assert list(np.bincount(y[kept])) == [9, 3, 8] or list(np.bincount(y[kept])) == [8, 3, 9]
    assert list(kept) == sorted(set(kept))
    assert len(subsample_balanced(y, 999, 0)) == 73


def test_the_narrowest_within_one_standard_error_of_the_best_is_chosen():
    right = np.ones(100, bool)

    def wrong(*at: int) -> np.ndarray:
        return np.where(np.isin(np.arange(100), at), False, right)

    judged = {
        FeaturePoint(1, 1.0, 4): ProbeScore(64, wrong(1), 0.1),  # best
        FeaturePoint(2, 1.0, 2): ProbeScore(
            16, wrong(1, 2), 0.2
        ),  # 1 more: .01, no more than sqrt(1) / 100
        FeaturePoint(3, 1.0, 1): ProbeScore(4, wrong(1, 2, 3), 0.2),  # 2 more: .02 > sqrt(2) / 100
        FeaturePoint(4, 1.0, 2): ProbeScore(16, wrong(1, 2), 0.3),
    }
    found = rank_points(judged, 100)
    assert found.best_point == FeaturePoint(1, 1.0, 4)
    assert found.selected_point == FeaturePoint(2, 1.0, 2)
    behind = {p.point: (p.accuracy_gap, p.gap_standard_error) for p in found.locations}
    assert behind[FeaturePoint(3, 1.0, 1)] == pytest.approx((0.02, 0.02**0.5 / 10))
    assert found.select_best(2) == [FeaturePoint(1, 1.0, 4), FeaturePoint(2, 1.0, 2)]


def test_what_is_found_is_kept_beside_the_model(tmp_path: Path):
    network, x, y = planted()
    found = search(network, x, y, SearchConfig(sigmas=(0.2, 1.5)))
    assert read_selected_point(tmp_path) is None
    write(found, tmp_path)
    assert read(tmp_path) == found
    assert read_selected_point(tmp_path) == found.selected_point
    heat = json.loads((tmp_path / FILE).read_text())["accuracy_grid"]
    assert (heat["blocks"], heat["sigmas"], heat["accuracy"]) == found.compute_accuracy_grid()
    (tmp_path / FILE).write_text("{}")
    with pytest.raises(ArtifactError, match=r"features\.json cannot be read: .*search again"):
        read_selected_point(tmp_path)


def test_levels_when_none_are_named():
    network, _, _ = planted()
    levels = SearchConfig().choose_sigmas(network)
    assert len(levels) == 8
    assert levels[0] == pytest.approx(0.01)
    assert levels[-1] == pytest.approx(1.5)
    narrow = replace(network, parameterization=Flow(time_range=(0.3, 0.4)))  # sigma 0.43 to 0.67
    below = SearchConfig().choose_sigmas(narrow)
    assert 1 < len(below) <= 8
    assert below[0] == pytest.approx(0.01)
    assert 0.3 < below[-1] < 0.67  # rounded to two digits, the highest is above


def test_bad_input():
    network, x, y = planted()
    with pytest.raises(InputError, match="0 labelled images of 0 classes cannot be compared"):
        search(network, x, np.full(80, -1))
    with pytest.raises(InputError, match="80 labelled images of 1 classes"):
        search(network, x, np.zeros(80))
    with pytest.raises(InputError, match="sigma 9999 is above"):
        search(network, x, y, SearchConfig(sigmas=(9999.0,)))
    with pytest.raises(InputError, match="images of 3 x 4 x 4 cannot be processed"):
        search(network, x.expand(-1, 3, -1, -1), y)
    with pytest.raises(InputError, match="1 folds"):
        SearchConfig(folds=1)
    with pytest.raises(InputError, match="79 labels for 80 images"):
        search(network, x, y[:79])
    with pytest.raises(InputError, match="no feature point is left"):
        search(network, x, y, SearchConfig(pools=(8,)))


def test_a_heat_map_has_holes_where_a_pooling_is_too_fine():
    point = FeaturePoint(1, 0.5, 4)
    place = FeatureLocation(point, 16, 0.9, 0.1, 0.0, 0.0)
    found = SearchResult((place, replace(place, point=FeaturePoint(2, 0.5, 1))), point, point, 10)
    assert np.isnan(found.compute_accuracy_grid(4)[2][1][0])
    assert found.compute_accuracy_grid(4)[2][0] == [0.9]
