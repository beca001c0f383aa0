"""How well a denoiser classifies and draws, before and after tuning."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.diffusion.classification.calibration_errors import CalibrationErrors
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.denoiser.protocol import normalize_images
from ilk.diffusion.errors.class_errors import Measure, compute_class_errors, compute_scores
from ilk.diffusion.errors.levels import Levels
from ilk.diffusion.generation.sample import Sampler
from ilk.maths.frechet_distance import Matrix, frechet_distance
from ilk.maths.inverse_temperature import fit_inverse_temperature
from ilk.training.trainer import Batch, DeviceConfig

N_LEVELS = 16  # noise levels among which those of a classifier are chosen
LEVEL_COUNTS = (1, 2, 4, 16)
MAX_IMAGES = 400  # held-out images whose errors are computed
SPAN = 1.5  # standard deviations of ln sigma around its mean that the levels cover
NEIGHBOUR = 3  # whose distance is the radius of a real or drawn image
SCALE_RANGE = math.exp(-5), math.exp(7)  # of scores whose standard deviation is 1
MAX_POOLED = 14  # height and width of the images of which the Fréchet distance is taken


@dataclass(frozen=True)
class LevelResult:
    """The classifier with a number of noise levels.

    Attributes:
        levels: Number of levels.
        accuracy: Accuracy on held-out images that levels and temperature were not learned on.
        log_loss: Log loss on them, in nats.
    """

    levels: int
    accuracy: float
    log_loss: float


@dataclass(frozen=True)
class DrawingQuality:
    """How close images drawn are to real ones, on pixels.

    Attributes:
        frechet_distance: Fréchet distance.
        precision: Fraction of images drawn that lie as close to a real image as that one to its
            third nearest real neighbour.
        recall: Fraction of real images that lie as close to an image drawn as that one to its third
            nearest neighbour among those drawn (Tuomas Kynkäänniemi and others, 2019, Improved
            Precision and Recall Metric for Assessing Generative Models, arXiv 1904.06991, eq. 1).
    """

    frechet_distance: float
    precision: float
    recall: float


@dataclass(frozen=True)
class Assessment:
    """A denoiser as a classifier and as a generator.

    Attributes:
        results: The classifier by number of levels, in rising order.
        levels_needed: Fewest levels whose accuracy is at most one standard error below the best.
        drawing: How close images drawn are to held-out ones; None if none was drawn.
        seconds_per_image: Time to classify an image with the levels needed.
    """

    results: tuple[LevelResult, ...]
    levels_needed: int
    drawing: DrawingQuality | None
    seconds_per_image: float


def make_levels(denoiser: Denoiser, mean: float, std: float) -> Levels:
    """Return the levels among which those of a tuned classifier are chosen.

    They lie within 1.5 standard deviations of the ln sigma of tuning.
    """
    low, high = math.exp(mean - SPAN * std), math.exp(mean + SPAN * std)
    return Levels.log_spaced(denoiser, N_LEVELS, low, high)


def measure_errors(
    networks: Sequence[tuple[Denoiser, Batch]],
    levels: Levels,
    machine: DeviceConfig = DeviceConfig(),  # noqa: B008  (frozen)
    progress: Progress = silent_progress,
) -> tuple[CalibrationErrors, float]:
    """Return the errors of held-out images, and the seconds of an image at one level.

    Args:
        networks: Each network with labelled images that it was not trained on.
        levels: Noise levels.
        machine: Device and precision.
        progress: Reports network calls.
    """
    measure = Measure(batch_size=512, precision=machine.precision, device=machine.device)
    sigmas, parts, labels, started = torch.tensor(levels.sigmas), [], [], time.perf_counter()
    for network, held_out in networks:
        part = _take_at_random(held_out, MAX_IMAGES // len(networks))
        noise = levels.draw_noise(network)
        x, device_network = normalize_images(part.x), network.to(machine.device)
        parts.append(compute_class_errors(device_network, x, sigmas, noise, measure, progress))
        labels.append(part.y)
    errors = CalibrationErrors(torch.cat(parts), torch.cat(labels), levels)
    seconds = time.perf_counter() - started
    return errors, seconds / max(1, len(errors.y) * len(levels))


def _take_at_random(batch: Batch, n: int) -> Batch:
    rows = torch.nonzero(batch.y >= 0).flatten()
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[: max(1, n)]
    return Batch(batch.x[rows[order]], batch.y[rows[order]])


def choose_levels(errors: CalibrationErrors, max_levels: int) -> CalibrationErrors:
    """Return the errors at the `max_levels` levels that classify best together."""
    chosen = errors.learn_levels(max_levels)
    columns = chosen.find_indices(errors.levels)
    return CalibrationErrors(errors.errors[:, :, columns], errors.y, errors.levels.take(columns))


def assess_errors(
    errors: CalibrationErrors, counts: Sequence[int] = LEVEL_COUNTS
) -> tuple[LevelResult, ...]:
    """Return the classifier by number of levels, cross-fitted over two halves of the images.

    Levels, weights and temperature are learned on one half and scored on the other.

    Raises:
        InputError: There are fewer than 4 images.
    """
    n = len(errors.y)
    if n < 4:
        raise InputError(f"{n} held-out images are too few to assess a classifier; 4 are needed")
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    halves = order[: n // 2], order[n // 2 :]
    counts = [m for m in counts if m <= len(errors.levels)]
    right, losses = dict.fromkeys(counts, 0.0), dict.fromkeys(counts, 0.0)
    for fit, test in (halves, halves[::-1]):
        for m in counts:
            levels = Levels.learn(errors.errors[fit], errors.y[fit], errors.levels, max_levels=m)
            columns = levels.find_indices(errors.levels)
            scores = compute_scores(errors.errors[:, :, columns], torch.tensor(levels.weights))
            scale = fit_scale(scores[fit], errors.y[fit])
            log_p = (scale * scores[test].double()).log_softmax(1)
            right[m] += float((scores[test].argmax(1) == errors.y[test]).sum())
            losses[m] -= float(log_p.gather(1, errors.y[test][:, None]).sum())
    return tuple(LevelResult(m, right[m] / n, losses[m] / n) for m in counts)


def fit_scale(scores: Tensor, y: Tensor) -> float:
    """Return the factor of scores `[n, k]` under whose softmax labels `[n]` are most likely."""
    centred = scores.double() - scores.double().mean(1, keepdim=True)
    unit = 1 / max(float(centred.std()), 1e-30)  # so that one range of factors suits all networks
    return unit * fit_inverse_temperature(unit * centred.numpy(), y.numpy(), *SCALE_RANGE)


def count_needed(results: Sequence[LevelResult], n: int) -> int:
    """Return the fewest levels whose accuracy is at most one standard error below the best."""
    best = max(r.accuracy for r in results)
    error = math.sqrt(max(best * (1 - best), 0.0) / n)
    return next(r.levels for r in results if r.accuracy >= best - error)


def measure_drawing(
    denoiser: Denoiser, real: Batch, count: int, device: str, sigmas: tuple[float, float]
) -> DrawingQuality | None:
    """Compare `count` images drawn, of all classes in turn, with real ones.

    Larger images are averaged over areas down to at most 14 x 14. None if either are below 5.
    """
    if min(count, len(real)) <= NEIGHBOUR + 1:
        return None
    own, denoiser.sigmas = denoiser.sigmas, sigmas
    try:
        labels = torch.arange(count) % max(1, len(denoiser.classes))
        parts = torch.split(labels if denoiser.classes else torch.full((count,), -1), 256)
        drawn = [Sampler(seed=i).draw(denoiser, part, device) for i, part in enumerate(parts)]
    finally:
        denoiser.sigmas = own
    x, x_real = _flatten(torch.cat(drawn).cpu()), _flatten(normalize_images(real.x))
    return DrawingQuality(
        frechet_distance(x, x_real), compute_coverage(x_real, x), compute_coverage(x, x_real)
    )


def compute_coverage(reference: Matrix, queries: Matrix, neighbour: int = NEIGHBOUR) -> float:
    """Return the fraction of rows of `queries` `[m, d]` in the manifold of `reference` `[n, d]`.

    A row is within it if a row of the reference is no further than that one's `neighbour`-th
    nearest other row of the reference.
    """
    own, cross = (
        torch.cdist(torch.from_numpy(a), torch.from_numpy(reference)) for a in (reference, queries)
    )
    radius = own.sort(1).values[:, neighbour]  # the first is the row itself
    return float((cross <= radius).any(1).double().mean())


def _flatten(x: Tensor) -> Matrix:
    """Return images in [-1, 1] as rows of pixels in [0, 1]."""
    size = min(MAX_POOLED, x.shape[-1])
    pooled = torch.nn.functional.adaptive_avg_pool2d((x.clamp(-1, 1) + 1) / 2, size)
    return np.asarray(pooled.flatten(1).double().numpy())
