"""What every strategy of the diffusion classifier shares: a ledger of errors, lot after lot."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ilk.diffusion.calls import Calls, Measure
from ilk.diffusion.contract import Denoises
from ilk.diffusion.levels import Levels
from ilk.diffusion.verdict import Verdict, estimated, ranked_below
from ilk.errors import InputError
from ilk.progress import Advance, Progress, silent

HELD = 2**25  # errors of a lot of images that are kept at once: 256 MiB
ASKED = 2**20  # calls that are written down before they are made


@dataclass(eq=False)
class Ledger:
    """The errors of a lot of images that were asked for so far.

    Attributes:
        calls: Whom to ask.
        levels: In their order of evaluation.
        live: Classes to begin with, `[n, k]`.
        cheap: Scores `[n, k]` that order classes never asked.
        advance: Told of every call.
        found: Weighted errors `[n, k, levels]` float64, NaN where not asked.
    """

    calls: Calls
    levels: Levels
    live: Tensor
    cheap: Tensor
    advance: Advance

    def __post_init__(self) -> None:
        shape = (*self.live.shape, len(self.levels))
        self.found = torch.full(shape, torch.nan, dtype=torch.float64)
        self.weights = torch.tensor(self.levels.weights, dtype=torch.float64)

    def ask(self, live: Tensor, levels: Sequence[int]) -> None:
        """Ask for the images and classes in `live` `[n, k]`, at these places of the levels.

        Raises:
            InputError: The network gave a number that is not finite.
        """
        image, label = live.nonzero(as_tuple=True)
        if not len(image):
            return
        places = torch.tensor(levels, dtype=torch.int64)
        for at in torch.split(places, max(1, ASKED // len(image))):
            level = at.repeat_interleave(len(image))
            i, c = image.repeat(len(at)), label.repeat(len(at))
            errors = self.calls.errors(i, c, level)
            if not bool(errors.isfinite().all()):
                where = float(self.calls.sigmas[level[~errors.isfinite()][0]])
                raise InputError(
                    f"the network gave a number that is not finite at noise level {where:.4g}; "
                    "look for damaged images, or take float32"
                )
            self.found[i, c, level] = errors.double() * self.weights[level]
            self.advance(len(errors))

    def verdict(self, winner: Tensor, growth: Tensor) -> Verdict:
        """What was found, with these answers `[n]`; `growth` as in `estimated`."""
        spent = (~self.found.isnan()).sum((1, 2))
        self.advance(int(self.found.numel() - spent.sum()))
        scores = estimated(self.found, winner, growth)
        return Verdict(ranked_below(scores, self.cheap), spent)


class Strategy(ABC):
    """How calls of the network are spent on telling classes apart."""

    def judge(
        self,
        network: Denoises,
        x: Tensor,
        levels: Levels,
        measure: Measure = Measure(),  # noqa: B008  (frozen)
        seed: int = 0,
        progress: Progress = silent,
    ) -> Verdict:
        """Judge images; each by itself, whatever else is judged with it.

        Memory: one batch of the network, and the errors of one lot of images (256 MiB at most).

        Args:
            network: Knows k classes.
            x: Images `[n, c, h, w]` in [-1, 1].
            levels: Noise levels, their weights and order.
            measure: Distance, calls at once, precision, device.
            seed: Of the noise, which is one a level for all classes and images.
            progress: Told of calls made or saved, of `n * k * levels`.

        Raises:
            InputError: The network knows no classes, what was given does not go together, memory is
                too small, or the network's answers are not finite.
        """
        n, k = len(x), len(network.classes)
        sigmas, noise = torch.tensor(levels.sigmas), levels.noise(network, seed)
        Calls(network, x, sigmas, noise, measure)  # refuses what does not go together, once
        self.check(levels, n, k)
        live, cheap = self.entrants(n, k)
        lot = max(1, HELD // (k * len(levels)))
        parts = [Verdict(torch.empty(0, k), torch.empty(0, dtype=torch.int64))]
        with progress("judging", n * k * len(levels)) as advance:
            for at in range(0, n, lot):
                rows = slice(at, at + lot)
                calls = Calls(network, x[rows], sigmas, noise, measure)
                ledger = Ledger(calls, levels, live[rows], cheap[rows], advance)
                parts.append(ledger.verdict(self.settle(ledger), self.growth(len(levels))))
        return Verdict.join(parts)

    @abstractmethod
    def settle(self, ledger: Ledger) -> Tensor:
        """Ask for what is needed; the answers `[n]`."""

    def check(self, levels: Levels, n: int, k: int) -> None:  # noqa: B027  (nothing to refuse)
        """Refuse levels, images or classes that this strategy was not made for."""

    def entrants(self, n: int, k: int) -> tuple[Tensor, Tensor]:
        """Classes to begin with `[n, k]`, and scores `[n, k]` that order the others."""
        return torch.ones(n, k, dtype=torch.bool), torch.zeros(n, k)

    def growth(self, levels: int) -> Tensor:
        """How many times the difference of classes after m levels that after all is, from m = 0."""
        return levels / torch.arange(levels + 1, dtype=torch.float64).clamp(min=1)


def lowest(sums: Tensor, live: Tensor) -> Tensor:
    """The live class of least error in each row, `[n]`; of equals the first."""
    return torch.where(live, sums, torch.inf).argmin(1)
