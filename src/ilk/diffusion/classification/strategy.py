"""The base class of all strategies: it records errors and processes images in chunks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ilk.core.errors import InputError
from ilk.core.progress import Advance, Progress, silent_progress
from ilk.diffusion.denoiser.protocol import Denoises
from ilk.diffusion.errors.denoising_errors import DenoisingErrors, Measure
from ilk.diffusion.errors.levels import Levels
from ilk.diffusion.result import ClassificationResult, estimate_scores, rank_unevaluated_last

MAX_ERRORS = 2**25  # errors of a chunk of images: 256 MiB
MAX_CALLS = 2**20  # calls that are queued at once


@dataclass(eq=False)
class Ledger:
    """The errors of a chunk of images that have been evaluated so far.

    Attributes:
        denoising_errors: Computes errors.
        levels: Levels in order of evaluation.
        live: Candidate classes, `[n, k]`.
        fallback_scores: Scores `[n, k]` that order classes without an evaluation.
        advance: Reports network calls.
        errors: Weighted errors `[n, k, levels]` float64, NaN where not evaluated.
    """

    denoising_errors: DenoisingErrors
    levels: Levels
    live: Tensor
    fallback_scores: Tensor
    advance: Advance

    def __post_init__(self) -> None:
        shape = (*self.live.shape, len(self.levels))
        self.errors = torch.full(shape, torch.nan, dtype=torch.float64)
        self.weights = torch.tensor(self.levels.weights, dtype=torch.float64)

    def evaluate(self, live: Tensor, levels: Sequence[int]) -> None:
        """Evaluate the images and classes in `live` `[n, k]` at the given positions of the levels.

        Raises:
            InputError: The network returned a value that is not finite.
        """
        image, label = live.nonzero(as_tuple=True)
        if not len(image):
            return
        positions = torch.tensor(levels, dtype=torch.int64)
        for chunk in torch.split(positions, max(1, MAX_CALLS // len(image))):
            level = chunk.repeat_interleave(len(image))
            i, c = image.repeat(len(chunk)), label.repeat(len(chunk))
            errors = self.denoising_errors.compute(i, c, level)
            if not bool(errors.isfinite().all()):
                sigma = float(self.denoising_errors.sigmas[level[~errors.isfinite()][0]])
                raise InputError(
                    f"the network returned a value that is not finite at noise level {sigma:.4g}; "
                    "check the images, or use float32"
                )
            self.errors[i, c, level] = errors.double() * self.weights[level]
            self.advance(len(errors))

    def make_result(self, winners: Tensor, extrapolation: Tensor) -> ClassificationResult:
        """Return the result for winners `[n]`; `extrapolation` as in `estimate_scores`."""
        n_calls = (~self.errors.isnan()).sum((1, 2))
        self.advance(int(self.errors.numel() - n_calls.sum()))
        scores = estimate_scores(self.errors, winners, extrapolation)
        return ClassificationResult(rank_unevaluated_last(scores, self.fallback_scores), n_calls)


class Strategy(ABC):
    """Decides which errors to evaluate in order to classify images."""

    def score_batch(
        self,
        network: Denoises,
        x: Tensor,
        levels: Levels,
        measure: Measure = Measure(),  # noqa: B008  (frozen)
        seed: int = 0,
        progress: Progress = silent_progress,
    ) -> ClassificationResult:
        """Score images; the scores of an image do not depend on the others.

        Memory: one batch of the network, and the errors of one chunk of images (at most 256 MiB).

        Args:
            network: A denoiser of k classes.
            x: Images `[n, c, h, w]` in [-1, 1].
            levels: Noise levels with weights, in order.
            measure: Distance, batch size, precision, device.
            seed: Seed of the noise, which all classes and images share per level.
            progress: Reports calls made or saved, out of `n * k * levels`.

        Raises:
            InputError: The network has no classes, inputs do not match, memory is too small, or the
                outputs of the network are not finite.
        """
        n, k = len(x), len(network.classes)
        sigmas, noise = torch.tensor(levels.sigmas), levels.draw_noise(network, seed)
        DenoisingErrors(network, x, sigmas, noise, measure)  # check the inputs once
        self.check(levels, n, k)
        live, fallback_scores = self.select_candidates(n, k)
        chunk_size = max(1, MAX_ERRORS // (k * len(levels)))
        results = [ClassificationResult(torch.empty(0, k), torch.empty(0, dtype=torch.int64))]
        with progress("scoring", n * k * len(levels)) as advance:
            for start in range(0, n, chunk_size):
                rows = slice(start, start + chunk_size)
                denoising_errors = DenoisingErrors(network, x[rows], sigmas, noise, measure)
                ledger = Ledger(
                    denoising_errors, levels, live[rows], fallback_scores[rows], advance
                )
                results.append(
                    ledger.make_result(
                        self.find_winners(ledger), self.get_extrapolation(len(levels))
                    )
                )
        return ClassificationResult.concatenate(results)

    @abstractmethod
    def find_winners(self, ledger: Ledger) -> Tensor:
        """Evaluate what is needed and return the best classes `[n]`."""

    def check(self, levels: Levels, n: int, k: int) -> None:  # noqa: B027  (nothing to refuse)
        """Check that levels, images and classes are supported; the default accepts all."""

    def select_candidates(self, n: int, k: int) -> tuple[Tensor, Tensor]:
        """Return candidate classes `[n, k]`, and scores `[n, k]` that order the others."""
        return torch.ones(n, k, dtype=torch.bool), torch.zeros(n, k)

    def get_extrapolation(self, n_levels: int) -> Tensor:
        """Return factors `[levels + 1]` that scale the difference after m levels to all levels."""
        return n_levels / torch.arange(n_levels + 1, dtype=torch.float64).clamp(min=1)


def select_lowest(sums: Tensor, live: Tensor) -> Tensor:
    """Return the live class with the lowest error in each row, `[n]`; the first of equals."""
    return torch.where(live, sums, torch.inf).argmin(1)
