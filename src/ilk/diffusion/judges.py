"""A network, what was learnt of its noise levels, and the strategies that judge by them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from ilk.diffusion import cheap, maps, optimised_noise
from ilk.diffusion.cheap import Cheap
from ilk.diffusion.chosen import Chosen
from ilk.diffusion.classify import Measure
from ilk.diffusion.contract import Denoises
from ilk.diffusion.levels import Levels
from ilk.diffusion.naive import Naive
from ilk.diffusion.optimised_noise import OptimisedNoise
from ilk.diffusion.order import spread_out
from ilk.diffusion.pace import fewest
from ilk.diffusion.race import Race
from ilk.diffusion.shortlist import Shortlist
from ilk.diffusion.staged import Staged
from ilk.diffusion.strategy import Strategy
from ilk.diffusion.trial import Trial
from ilk.diffusion.verdict import Verdict

if TYPE_CHECKING:
    from PIL.Image import Image

STRATEGIES = ("race", "naive", "staged", "noise")
LEVELS = 32  # where nothing was tuned
FEW = 50  # images of a trial; fewer teach nothing of levels and races


class Settings(Protocol):
    """What is asked of a verdict; `ilk.diffusion.class_scores.Settings`."""

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


class Judges:
    """Verdicts of one network.

    Args:
        network: Limited to the classes that are chosen among.
        home: The model's folder, which may hold an optimised noise.
        own: The network's own folder, which may hold a cheap head.
        measure: Distance, calls at once, precision, device.
        trial: Of the same classes in the same order; None where there is none.
    """

    def __init__(
        self, network: Denoises, home: Path, own: Path, measure: Measure, trial: Trial | None
    ) -> None:
        self.network, self.home, self.own, self.measure = network, home, own, measure
        self.whole = network.network if isinstance(network, Chosen) else network
        self.trial = trial if trial is not None and len(trial.y) >= FEW else None
        self._prepared: tuple[Settings, tuple[Strategy, Levels]] | None = None

    def verdict(self, x: Tensor, settings: Settings) -> Verdict:
        """What becomes of images `[n, c, h, w]` in [-1, 1].

        Raises:
            ArtefactError: An optimised noise is asked for and there is none.
            InputError: More levels are asked for than a strategy can have.
        """
        if settings.strategy == "noise":
            return self._noise.judge(self.network, x, self.measure)
        if self._prepared is None or self._prepared[0] != settings:
            self._prepared = settings, self._prepare(settings)
        strategy, levels = self._prepared[1]
        if settings.shortlist:
            strategy = Shortlist(self._cheap(x), settings.shortlist, strategy)
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
            count = settings.levels or LEVELS  # without calibration a race wants even levels
            return Race(error_rate=settings.error), even(self.network, count, settings.distance)
        errors = trial.errors[:, :, levels.places(trial.levels)]
        return Race.calibrated(errors, levels, settings.error), levels

    def _trial(self, settings: Settings) -> Trial | None:
        """The trial, where it goes with what is asked: it was taken under l2 and noise 0."""
        return self.trial if settings.distance == "l2" and not settings.seed else None

    def _cheap(self, x: Tensor) -> Tensor:
        """Scores `[n, k]` of the cheap head, one image at a time in what they hang on."""
        return self._head.scores(self.whole, x.to(self.measure.device))

    @cached_property
    def _head(self) -> Cheap:
        known = {name: i for i, name in enumerate(self.whole.classes)}
        return cheap.load(self.own).only([known[name] for name in self.network.classes])

    @cached_property
    def _noise(self) -> OptimisedNoise:
        return optimised_noise.load(self.home, self.network, self.measure.device)

    def levels(self, settings: Settings) -> Levels:
        """The noise levels to judge at: learnt from a trial where there is one."""
        trial = self._trial(settings)
        if trial is None:
            return even(self.network, settings.levels or LEVELS, settings.distance)
        return trial.learned(settings.levels)

    def explain(self, x: Tensor, shown: Tensor, told: tuple[int, int], settings: Settings) -> Image:
        """A picture of where an image `[1, c, h, w]` speaks for which of the two classes `told`;
        `shown` `[c, H, W]` is the image to lay it over."""
        first, second = (torch.tensor([c]) for c in told)
        levels = self.levels(settings)
        if settings.strategy in ("race", "staged"):
            levels = self._prepare(settings)[1]
        found = maps.difference_maps(
            self.network, x, first, second, levels, self.measure, settings.seed
        )
        return maps.render(shown, found[0])


def even(network: Denoises, count: int, distance: str) -> Levels:
    """Levels where nothing was learnt of them: a network's own steps, else evenly in ln sigma."""
    if not hasattr(network, "convention"):
        return Levels.even(network, count, distance=distance)
    return Levels.steps(network, count, distance=distance).take(spread_out(count))
