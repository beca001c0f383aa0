"""A network, what was learnt of its noise levels, and the strategies that judge by them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ilk.diffusion import maps, optimised_noise
from ilk.diffusion import trial as trials
from ilk.diffusion.classify import Measure
from ilk.diffusion.contract import Denoises
from ilk.diffusion.levels import Levels
from ilk.diffusion.naive import Naive
from ilk.diffusion.optimised_noise import OptimisedNoise
from ilk.diffusion.pace import fewest
from ilk.diffusion.race import Race
from ilk.diffusion.staged import Staged
from ilk.diffusion.strategy import Strategy
from ilk.diffusion.trial import Trial
from ilk.diffusion.verdict import Verdict

if TYPE_CHECKING:
    from PIL.Image import Image

    from ilk.diffusion.class_scores import Settings

LEVELS = 32  # where nothing was tuned
FEW = 50  # images of a trial; fewer teach nothing of levels and races


class Judges:
    """Verdicts of one network.

    Args:
        network: Limited to the classes that are chosen among.
        home: The model's folder, which may hold an optimised noise.
        measure: Distance, calls at once, precision, device.
        trial: Of the same classes in the same order; None where there is none.
    """

    STRATEGIES: ClassVar = ("race", "naive", "staged", "noise")
    FILES: ClassVar = (trials.FILE, optimised_noise.JSON, optimised_noise.ARRAYS)

    def __init__(
        self, network: Denoises, home: Path, measure: Measure, trial: Trial | None
    ) -> None:
        self.network, self.home, self.measure = network, home, measure
        self.trial = trial if trial is not None and len(trial.y) >= FEW else None
        self._prepared = lru_cache(maxsize=None)(self._prepare)

    def verdict(self, x: Tensor, settings: Settings) -> Verdict:
        """What becomes of images `[n, c, h, w]` in [-1, 1].

        Raises:
            ArtefactError: An optimised noise is asked for and there is none.
            InputError: More levels are asked for than a strategy can have.
        """
        if settings.strategy == "noise":
            return self._noise().judge(self.network, x, self.measure)
        strategy, levels = self._prepared(settings)
        return strategy.judge(self.network, x, levels, self.measure, settings.seed)

    def _prepare(self, settings: Settings) -> tuple[Strategy, Levels]:
        if settings.strategy == "staged":
            staged = Staged()
            count = settings.levels or max(staged.samples)
            return staged, Levels.steps(self.network, count, distance=settings.distance)
        levels = self.levels(settings)
        if settings.strategy == "naive":
            return Naive(), levels
        trial = self._trial(settings)
        if trial is None or len(trial.y) < fewest(settings.error):
            return Race(error_rate=settings.error), levels
        errors = trial.errors[:, :, levels.places(trial.levels)]
        return Race.calibrated(errors, levels, settings.error), levels

    def _trial(self, settings: Settings) -> Trial | None:
        """The trial, where it goes with what is asked: it was taken under l2 and noise 0."""
        return self.trial if settings.distance == "l2" and not settings.seed else None

    def _noise(self) -> OptimisedNoise:
        return optimised_noise.load(self.home, self.network, self.measure.device)

    def levels(self, settings: Settings) -> Levels:
        """The noise levels to judge at: learnt from a trial where there is one."""
        trial = self._trial(settings)
        if trial is None:
            count = settings.levels or LEVELS
            return Levels.even(self.network, count, distance=settings.distance)
        return trial.learned(settings.levels)

    def explain(self, x: Tensor, first: int, second: int, settings: Settings) -> Image:
        """A picture of where an image `[1, c, h, w]` speaks for which of two classes."""
        levels = self.levels(settings)
        told = torch.tensor([first]), torch.tensor([second])
        found = maps.difference_maps(self.network, x, *told, levels, self.measure, settings.seed)
        return maps.render(x[0], found[0])
