"""Search for the best feature point of a diffusion network: block, noise level, pooling.

As in the ablations of arXiv 2307.08702, but on the user's labelled images by cross-validation, so
that test images have no influence. All blocks and poolings of a level come from one network call.

Every point is evaluated by the same probe: ridge regression of class membership on standardised
features, since otherwise the scale of a block would decide. The penalty minimises the leave-one-out
error; held-out predictions are exact and need no refit: with H the hat matrix of the ridge
(including the mean) and F the rows of a fold,

    y_F - f_without_F(x_F) = (I - H_FF)^-1 (y_F - f(x_F))

(David M. Allen, 1974, doi:10.1080/00401706.1974.10489157, for one row; for several by the same
Woodbury identity). One eigendecomposition serves all penalties and folds.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ilk.core.data import Labels
from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.diffusion.denoiser.protocol import Denoises
from ilk.diffusion.features.extract import iterate_maps, pool_map
from ilk.diffusion.features.feature_point import DEFAULT_FEATURES, FeatureConfig, FeaturePoint
from ilk.diffusion.features.hooks import Hooks
from ilk.diffusion.features.probe import ProbeScore, evaluate_probe
from ilk.diffusion.features.search_result import FeatureLocation, SearchResult
from ilk.maths import folds

N_LEVELS, LOW, HIGH = 8, 0.02, 3.0  # number of levels; limits, relative to sigma_data
SIGMA_DATA = 0.5


@dataclass(frozen=True)
class SearchConfig:
    """The search space.

    Attributes:
        sigmas: Noise levels; empty for 8 levels, evenly spaced in ln sigma, from a fiftieth to
            three times the deviation of the data. The lowest are nearly clean images.
        pools: Sizes of the pooled map (0: mean and standard deviation); sizes larger than the map
            of a block are skipped.
        folds: Number of cross-validation folds.
        max_images: Maximum number of images, balanced over classes.
        max_features: Maximum number of features; wider points are skipped.
        feature_config: How features are extracted; its seed also determines the folds.

    Raises:
        InputError: The search space is empty or invalid.
    """

    sigmas: tuple[float, ...] = ()
    pools: tuple[int, ...] = (0, 1, 2, 4)
    folds: int = 5
    max_images: int = 2000
    max_features: int = 16384
    feature_config: FeatureConfig = DEFAULT_FEATURES

    def __post_init__(self) -> None:
        if self.folds < 2 or self.max_images < 4 or not self.pools or min(self.pools) < 0:
            raise InputError(
                f"{self.folds} folds of {self.max_images} images at pools {self.pools} cannot be "
                "compared; use at least 2 folds, 4 images and a pool"
            )

    def choose_sigmas(self, network: Denoises) -> tuple[float, ...]:
        """Return the noise levels for `network`.

        Raises:
            InputError: One is above its training range.
        """
        high = network.sigmas[1]
        sigma_data = float(getattr(network, "sigma_data", SIGMA_DATA))
        limits = LOW * sigma_data, min(high, HIGH * sigma_data)
        grid = [float(f"{sigma:.2g}") for sigma in np.geomspace(*limits, N_LEVELS)]
        sigmas = self.sigmas or tuple(dict.fromkeys(s for s in grid if s <= high))
        if above := [sigma for sigma in sigmas if sigma > high]:
            raise InputError(
                f"sigma {above[0]:g} is above what this network was trained on, up to {high:.4g}"
            )
        return sigmas


def search(
    network: Denoises,
    x: Tensor,
    y: Labels,
    settings: SearchConfig = SearchConfig(),
    progress: Progress = silent_progress,
    groups: Labels | None = None,
) -> SearchResult:
    """Evaluate every block, noise level and pooling on labelled images.

    Args:
        network: Network whose features are searched.
        x: Images `[n, c, h, w]`, 8-bit or in [-1, 1].
        y: Class indices `[n]`; rows of -1 (unknown) are ignored.
        settings: Search space.
        progress: Reports images times calls.
        groups: Group of each image, `[n]`, which stays in one fold; None makes every image one.

    Raises:
        InputError: Fewer than two classes have images, images or labels do not match, or the search
            space is empty.
    """
    y = np.asarray(y, np.int64)
    if len(y) != len(x):
        raise InputError(f"{len(y)} labels for {len(x)} images; give one each, -1 where unknown")
    subset = subsample_balanced(y, settings.max_images, settings.feature_config.seed)
    _, y = np.unique(y[subset], return_inverse=True)
    subset_groups = None if groups is None else groups[subset]
    n_folds = max(2, folds.count_folds(y, settings.folds, subset_groups))
    n_folds = settings.folds if groups is None else n_folds
    fold_ids = folds.assign_folds(y, n_folds, settings.feature_config.seed, subset_groups)
    x, sigmas = x[torch.from_numpy(subset)], settings.choose_sigmas(network)
    scores: dict[FeaturePoint, ProbeScore] = {}
    with closing(Hooks(network)) as hooks, progress("searching", len(x) * len(sigmas)) as advance:
        for sigma in sigmas:
            for point, rows in extract_level_features(hooks, x, sigma, settings).items():
                scores[point] = evaluate_probe(rows, y, fold_ids)
            advance(len(x))
    if not scores:
        raise InputError(
            f"no feature point is left: pools {settings.pools} are too fine for every block, or "
            f"give more than {settings.max_features} features"
        )
    return rank_points(scores, len(x))


def subsample_balanced(y: Labels, max_images: int, seed: int) -> Labels:
    """Return positions of at most `max_images` labelled images, balanced over classes `y` `[n]`.

    Raises:
        InputError: Fewer than two classes have an image.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(np.flatnonzero(y >= 0))
    classes, counts = np.unique(y[order], return_counts=True)
    if len(classes) < 2 or counts.max() < 2:
        raise InputError(
            f"{len(order)} labelled images of {len(classes)} classes cannot be compared; label "
            "images of at least two classes, and two images of one"
        )
    nth = np.empty(len(order), np.int64)
    for c in classes:
        nth[y[order] == c] = np.arange(np.sum(y[order] == c))
    return np.sort(order[np.argsort(nth, kind="stable")[:max_images]])


def extract_level_features(
    hooks: Hooks, x: Tensor, sigma: float, settings: SearchConfig
) -> dict[FeaturePoint, Tensor]:
    """Return features `[n, d]` per block and pooling at one level, of images `[n, c, h, w]`."""
    points = [
        point
        for hook in hooks.blocks
        for pool in settings.pools
        if pool <= hook.side
        and (point := FeaturePoint(hook.index, sigma, pool)).count_features(hook)
        <= settings.max_features
    ]
    out = {p: torch.zeros(len(x), p.count_features(hooks.blocks[p.block - 1])) for p in points}
    for rows, maps in iterate_maps(hooks, x, sigma, (), settings.feature_config):
        for point, features in out.items():
            part = pool_map(maps[point.block], point.pool).cpu()
            features[rows] += part / settings.feature_config.draws
    return out


def rank_points(scores: dict[FeaturePoint, ProbeScore], n_images: int) -> SearchResult:
    """Return the table, the best point, and the narrowest point within one standard error of it."""
    best = min(scores, key=lambda p: (-scores[p].is_correct.mean(), scores[p].log_loss))
    locations = []
    for point, score in scores.items():
        deficit = scores[best].is_correct.astype(float) - score.is_correct
        error = float(np.sum(deficit**2) ** 0.5 / n_images)  # under equal accuracy (McNemar)
        values = float(score.is_correct.mean()), score.log_loss, float(deficit.mean()), error
        locations.append(FeatureLocation(point, score.n_features, *values))
    within_error = [
        location
        for location in locations
        if location.accuracy_gap <= location.gap_standard_error + 1e-12
    ]
    selected = min(within_error, key=lambda p: (p.width, -p.accuracy, p.log_loss)).point
    return SearchResult(tuple(locations), best, selected, n_images)
