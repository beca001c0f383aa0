"""Patch memory against brute force, the place of a planted defect, and its false alarms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.detectors.patch_memory import PatchMemory

GRID, WIDTH = (4, 5), 6


def draw_images(n: int, seed: int = 0) -> np.ndarray:
    """Patches `[n, 4, 5, 6]` of correlated features."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(99).standard_normal((WIDTH, WIDTH))
    return (rng.standard_normal((n, *GRID, WIDTH)) @ mix + 10).astype(np.float32)


def to_data(images: np.ndarray, group: np.ndarray | None = None) -> Data:
    x = images.reshape(len(images), -1)
    group = np.full(len(x), -1) if group is None else group
    return Data(x, np.full(len(x), -1), (), group=group)


def score_by_brute_force(memory: np.ndarray, image: np.ndarray, b: int) -> tuple[float, np.ndarray]:
    """Equations 6 and 7 of the paper, written out."""
    distances = cdist(image.reshape(-1, WIDTH), memory)
    nearest = distances.min(1)
    p = int(nearest.argmax())
    m = int(distances[p].argmin())
    around = np.argsort(np.linalg.norm(memory - memory[m], axis=1), kind="stable")[:b]
    share = np.exp(distances[p, m]) / np.exp(distances[p, around]).sum()
    return float((1 - share) * nearest[p]), nearest.reshape(image.shape[:2])


@pytest.mark.parametrize("shrinkage", [0.3, None])
def test_scores_and_maps_are_those_of_brute_force(shrinkage: float | None) -> None:
    images, new = draw_images(50), draw_images(6, 1)
    method = PatchMemory(*GRID, max_kept=120, neighbours=3, shrinkage=shrinkage)
    model = method.fit(to_data(images))
    assert model.memory.shape == (120, WIDTH)
    if shrinkage:
        patches = images.reshape(-1, WIDTH).astype(float)
        z = (patches - patches.mean(0)) @ model.whitening
        variance = np.linalg.eigvalsh(np.cov(patches.T, bias=True))
        expected = np.diag(variance / (variance + 0.3 * variance.mean()))
        np.testing.assert_allclose(z.T @ z / len(z), expected, atol=1e-4)
    scores, maps = model.score_with_map(new.reshape(6, -1))
    for i, image in enumerate(new):
        score, values = score_by_brute_force(
            model.memory.astype(float), (image - model.centre) @ model.whitening, 3
        )
        assert scores[i] == pytest.approx(score, rel=1e-4)
        np.testing.assert_allclose(maps[i], values, rtol=1e-4, atol=1e-4)


def test_the_memory_holds_patches_of_the_images_themselves() -> None:
    images = draw_images(30)
    model = PatchMemory(*GRID, shrinkage=None).fit(to_data(images))
    gaps = cdist(model.memory + model.centre, images.reshape(-1, WIDTH)).min(1)
    np.testing.assert_allclose(gaps, 0, atol=1e-4)


def test_the_map_is_greatest_where_the_defect_is() -> None:
    model = PatchMemory(*GRID).fit(to_data(draw_images(60)))
    new = draw_images(20, 5)
    for i, image in enumerate(new):
        image[i % 4, i % 5] += 25 * np.random.default_rng(i).choice([-1, 1], WIDTH)
    maps = model.score_map(new.reshape(20, -1))
    peaks = [np.unravel_index(int(m.argmax()), m.shape) for m in maps]
    assert peaks == [(i % 4, i % 5) for i in range(20)]


def test_groups_lie_in_one_fold() -> None:
    """With each image twice, its copy must not excuse it."""
    images = np.repeat(draw_images(40), 2, axis=0)
    method = PatchMemory(
        *GRID, fraction=1.0, folds=8
    )  # the memory holds every patch, hence every copy
    grouped = method.fit(to_data(images, np.arange(80) // 2))
    alone = method.fit(to_data(images))
    assert (alone.calibration_scores < 1e-3).mean() > 0.7  # copies in other folds
    assert grouped.calibration_scores.min() > 0.1
    assert grouped.n_votes == 40
    assert alone.n_votes == 80
    new = draw_images(300, 7).reshape(300, -1)
    assert (grouped.score(new) > grouped.compute_threshold(0.1)).mean() < 0.2


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_false_alarms_keep_their_rate(rate: float) -> None:
    alarms = []
    for seed in range(12):
        model = PatchMemory(*GRID, max_kept=200).fit(to_data(draw_images(99, seed)))
        new = draw_images(300, 100 + seed).reshape(300, -1)
        alarms.append((model.score(new) > model.compute_threshold(rate)).mean())
    assert 0.3 * rate < np.mean(alarms) < 1.2 * rate  # a memory of two thirds: a bit cautious


def test_a_patch_far_from_a_rare_entry_counts_more_than_one_far_from_a_usual_one() -> None:
    from ilk.maths.nearest_entries import weigh_by_neighbours

    rng = np.random.default_rng(0)
    memory = np.concatenate([rng.normal(0, 0.1, (50, 2)), [[9, 9]]]).astype(np.float32)
    usual = memory[0] + np.float32([0, -3])
    rare = memory[50] + np.float32([3, 3])
    assert weigh_by_neighbours(rare, memory, 50, 9) > weigh_by_neighbours(usual, memory, 0, 9)
    assert weigh_by_neighbours(usual, memory[:1], 0, 9) == 1


def test_rows_that_are_no_patches_are_refused() -> None:
    with pytest.raises(InputError, match="4 x 5 patches"):
        PatchMemory(*GRID).fit(Data(np.zeros((5, 7), np.float32), np.full(5, -1), ()))
    model = PatchMemory(*GRID).fit(to_data(draw_images(5)))
    with pytest.raises(InputError, match="patches of 6 features, and these have 2"):
        model.score(np.zeros((3, 40), np.float32))
