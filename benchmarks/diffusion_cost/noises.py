"""Single noises: random ones, none, optimised ones, and the choice of `ilk tune` among them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from benchmarks.diffusion_setup import draw_balanced, scale_images
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.errors.class_errors import Measure
from ilk.diffusion.noise_optimization.ensemble import NoiseEnsemble
from ilk.diffusion.noise_optimization.labelled_parts import divide_images
from ilk.diffusion.noise_optimization.selection import (
    Candidate,
    NoiseSelectionConfig,
    choose_members,
    make_candidates,
)
from ilk.diffusion.noise_optimization.single_noise import measure_single_noise_accuracy
from ilk.diffusion.noise_optimization.tuning import PAPER_CONFIG, NoiseTuningConfig, optimize_noise
from ilk.training.trainer import Batch

SHOTS, N_LABELLED = 8, 480  # per class, optimised on; images to optimise and to choose on
N_CALLS = 4  # calls per class of an ensemble
MEASURE = Measure("l1", 512, "bfloat16")

Record = dict[str, Any]


@dataclass(frozen=True, eq=False)
class NoiseCase:
    """Held-out and test images of one network, and a seed for their draw and the noises.

    Attributes:
        network: The network.
        held_out: Images that it was not trained on; every choice is made on them.
        test: Scored once.
        seed: Seed.
        n_noises: Random noises of the distribution; 0 leaves them out.
        has_paper_row: Whether the paper's settings are tried, which cost as much as all others.
    """

    network: Denoiser
    held_out: Batch
    test: Batch
    seed: int
    n_noises: int
    has_paper_row: bool = True


def evaluate_noises(case: NoiseCase) -> list[Record]:
    """Return one record per way to choose a noise."""
    held_out = _draw(case.held_out, N_LABELLED, case.seed)
    parts = divide_images(held_out.y.numpy(), SHOTS)
    x, y = scale_images(held_out), held_out.y
    training, validation = ((x[rows], y[rows]) for rows in (parts.training, parts.validation))
    tuning = NoiseTuningConfig(seed=case.seed, measure=MEASURE)
    config = NoiseSelectionConfig(tuning=tuning)
    candidates = make_candidates(case.network, training, validation, config)

    def choose(kinds: Sequence[str], count: int) -> list[Candidate]:
        among = [c for c in candidates if c.noise.metadata["kind"] in kinds]
        return choose_members(among, validation[1], count)

    every = ("none", "random", "optimised")
    rows = {
        "no noise, level chosen": choose(["none"], 1),
        "best of 8 random noises": choose(["random"], 1),
        "optimised noise, level and epoch chosen": choose(["optimised"], 1),
        "`ilk tune`: the best of all": choose(every, 1),
        f"no noise at {N_CALLS} levels": choose(["none"], N_CALLS),
        f"`ilk tune --noise-calls {N_CALLS}`": choose(every, N_CALLS),
    }
    records = []
    for name, members in rows.items():
        ensemble = NoiseEnsemble(tuple(c.noise for c in members))
        kinds = [c.noise.metadata["kind"] for c in members]
        records.append({**_score(case, name, ensemble), "kinds": kinds})
    sigma = rows["no noise, level chosen"][0].noise.sigma
    if case.has_paper_row:
        paper = replace(PAPER_CONFIG, seed=case.seed, measure=MEASURE)
        noise = optimize_noise(case.network, *training, sigma, paper)
        records.append(_score(case, "one optimised noise, the paper's settings", noise))
    if case.n_noises:
        records.append(_score_random(case, sigma))
    return records


def _draw(batch: Batch, count: int, seed: int) -> Batch:
    """Return `count` random images, as balanced over classes as possible, in random order."""
    drawn = draw_balanced(batch, count, seed)
    rows = torch.randperm(len(drawn), generator=torch.Generator().manual_seed(seed))
    return Batch(drawn.x[rows], drawn.y[rows])


def _score(case: NoiseCase, name: str, noise: Any) -> Record:
    start = time.perf_counter()
    score: Callable[..., Any] = noise.score_batch
    result = score(case.network, scale_images(case.test), MEASURE)
    members = noise.members if isinstance(noise, NoiseEnsemble) else (noise,)
    return {
        "seed": case.seed,
        "strategy": name,
        "accuracy": float((result.scores.argmax(1) == case.test.y).double().mean()),
        "images": len(case.test),
        "calls": float(result.n_calls.double().mean()),
        "seconds": (time.perf_counter() - start) / len(case.test),
        "sigma": sum(m.sigma for m in members) / len(members),
    }


def _score_random(case: NoiseCase, sigma: float) -> Record:
    accuracies = measure_single_noise_accuracy(
        case.network, (scale_images(case.test), case.test.y), sigma, range(case.n_noises), MEASURE
    )
    return {
        "seed": case.seed,
        "strategy": "one random noise",
        "accuracy": float(accuracies.mean()),
        "95th percentile": float(accuracies.quantile(0.95)),
        "noises": [float(a) for a in accuracies],
        "calls": float(len(case.network.classes)),
        "sigma": sigma,
    }
