"""Score images by one network with a given strategy."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from ilk.diffusion.classification import difference_maps, nearest_mean_head
from ilk.diffusion.classification.calibration_errors import CalibrationErrors
from ilk.diffusion.classification.class_subset import ClassSubset
from ilk.diffusion.classification.exhaustive import Exhaustive
from ilk.diffusion.classification.nearest_mean_head import NearestMeanHead
from ilk.diffusion.classification.race import Race
from ilk.diffusion.classification.shortlist import Shortlist
from ilk.diffusion.classification.staged import StagedPruning
from ilk.diffusion.classification.stopping_bound import count_min_images
from ilk.diffusion.classification.strategy import Strategy
from ilk.diffusion.denoiser.protocol import Denoises
from ilk.diffusion.errors.class_errors import Measure
from ilk.diffusion.errors.level_order import order_evenly
from ilk.diffusion.errors.levels import Levels
from ilk.diffusion.noise_optimization import noise_file
from ilk.diffusion.noise_optimization.ensemble import NoiseEnsemble
from ilk.diffusion.result import ClassificationResult

if TYPE_CHECKING:
    from PIL.Image import Image

STRATEGIES = ("race", "naive", "staged", "noise")
DEFAULT_LEVELS = 32  # without tuning
MIN_CALIBRATION_IMAGES = 50  # fewer are too noisy to learn levels and bounds


class ScorerConfig(Protocol):
    """Settings of a scorer; see `ilk.encoders.classifier_config`."""

    @property
    def strategy(self) -> str: ...
    @property
    def levels(self) -> int: ...
    @property
    def error(self) -> float: ...
    @property
    def seed(self) -> int: ...
    @property
    def distance(self) -> str: ...
    @property
    def shortlist(self) -> int: ...


class Scorer:
    """Class scores of one network.

    Args:
        network: Restricted to the classes to distinguish.
        model_folder: Folder of the model, which may hold an optimized noise.
        network_folder: Folder of this network, which may hold a nearest-mean head.
        measure: Distance, batch size, precision, device.
        calibration_errors: Errors of the same classes in the same order; None if there are none.
    """

    def __init__(
        self,
        network: Denoises,
        model_folder: Path,
        network_folder: Path,
        measure: Measure,
        calibration_errors: CalibrationErrors | None,
    ) -> None:
        self.network, self.model_folder, self.network_folder, self.measure = (
            network,
            model_folder,
            network_folder,
            measure,
        )
        self.full_network = network.network if isinstance(network, ClassSubset) else network
        self.calibration_errors = (
            calibration_errors
            if calibration_errors is not None
            and len(calibration_errors.y) >= MIN_CALIBRATION_IMAGES
            else None
        )
        self._cached_strategy: tuple[ScorerConfig, tuple[Strategy, Levels]] | None = None

    def score_batch(self, x: Tensor, config: ScorerConfig) -> ClassificationResult:
        """Score images `[n, c, h, w]` in [-1, 1].

        Raises:
            ArtifactError: An optimized noise is required and there is none.
            InputError: There are more levels than the strategy supports.
        """
        if config.strategy == "noise":
            return self._noises.score_batch(self.network, x, self.measure)
        if self._cached_strategy is None or self._cached_strategy[0] != config:
            self._cached_strategy = config, self._build_strategy(config)
        strategy, levels = self._cached_strategy[1]
        if config.shortlist:
            strategy = Shortlist(self._score_nearest_means(x), config.shortlist, strategy)
        return strategy.score_batch(self.network, x, levels, self.measure, config.seed)

    def _build_strategy(self, config: ScorerConfig) -> tuple[Strategy, Levels]:
        if config.strategy == "staged":
            strategy = StagedPruning()
            count = config.levels or max(strategy.samples)
            return strategy, Levels.from_schedule(self.network, count, distance=config.distance)
        levels = self.choose_levels(config)
        if config.strategy == "naive":
            return Exhaustive(), levels
        calibration = self._get_calibration_errors(config)
        if calibration is None or len(calibration.y) < count_min_images(config.error):
            count = config.levels or DEFAULT_LEVELS  # an uncalibrated race needs even levels
            return Race(error_rate=config.error), choose_default_levels(
                self.network, count, config.distance
            )
        errors = calibration.errors[:, :, levels.find_indices(calibration.levels)]
        return Race.calibrate(errors, levels, config.error), levels

    def _get_calibration_errors(self, config: ScorerConfig) -> CalibrationErrors | None:
        """Return the calibration errors if they apply: they were computed with l2 and seed 0."""
        return self.calibration_errors if config.distance == "l2" and not config.seed else None

    def _score_nearest_means(self, x: Tensor) -> Tensor:
        """Return the scores `[n, k]` of the nearest-mean head; each row depends on its image."""
        return self._nearest_mean_head.score(self.full_network, x.to(self.measure.device))

    @cached_property
    def _nearest_mean_head(self) -> NearestMeanHead:
        class_to_index = {name: i for i, name in enumerate(self.full_network.classes)}
        return nearest_mean_head.load(self.network_folder).select_classes(
            [class_to_index[name] for name in self.network.classes]
        )

    @cached_property
    def _noises(self) -> NoiseEnsemble:
        return noise_file.load(self.model_folder, self.network, self.measure.device)

    def choose_levels(self, config: ScorerConfig) -> Levels:
        """Return the noise levels: learned from calibration errors if there are any."""
        calibration = self._get_calibration_errors(config)
        if calibration is None:
            return choose_default_levels(
                self.network, config.levels or DEFAULT_LEVELS, config.distance
            )
        return calibration.learn_levels(config.levels)

    def explain(
        self, x: Tensor, background: Tensor, classes: tuple[int, int], config: ScorerConfig
    ) -> Image:
        """Render where an image supports the first or the second of two classes.

        Args:
            x: Image `[1, c, h, w]` in [-1, 1].
            background: Image `[c, H, W]` to draw on.
            classes: Indices of the two classes.
            config: Settings of the scorer.
        """
        return difference_maps.render(background, self.compute_difference(x, classes, config))

    def compute_difference(
        self, x: Tensor, classes: tuple[int, int], config: ScorerConfig
    ) -> Tensor:
        """Return where an image `[1, c, h, w]` supports the first class (> 0), `[h, w]`."""
        first, second = (torch.tensor([c]) for c in classes)
        levels = self.choose_levels(config)
        if config.strategy in ("race", "staged"):
            levels = self._build_strategy(config)[1]
        return difference_maps.compute_difference_maps(
            self.network, x, first, second, levels, self.measure, config.seed
        )[0]


def choose_default_levels(network: Denoises, count: int, distance: str) -> Levels:
    """Return levels without calibration: the network's own steps, or even in ln sigma."""
    if not hasattr(network, "parameterization"):
        return Levels.log_spaced(network, count, distance=distance)
    return Levels.from_schedule(network, count, distance=distance).take(order_evenly(count))
