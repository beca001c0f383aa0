"""Self-Bench on digits: does a diffusion model classify its own images better than another's?

Entry diffusion-clf-compositionality. A U-Net and a small DiT are pretrained on the same digits
(70/30, seeds 0 to 2). Each generates 20 images of every class; 3 nearest neighbours on real
training pixels accept the images that show their class, and both models classify the accepted ones.
In-domain is a model's accuracy on its own images, cross-domain on the other's. Half of the accepted
images are tested, under the plain mean of errors, exp(-7t), and level weights learned from the
other half. The same three weightings are evaluated on real test images, with weights learned from
half of them. Finished parts are cached, so the total time is that of the last command.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.diffusion_digits.run import flatten
from benchmarks.diffusion_setup import (
    ImageDataset,
    load_digit_images,
    load_or_compute,
    load_pretrained,
    make_digits_config,
    scale_images,
    take_balanced,
)
from benchmarks.runner import summarize
from ilk.core.progress import silent_progress
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.errors.class_errors import Measure
from ilk.diffusion.generation.self_bench import ImageClassifier, compute_domain_gap, run_self_bench
from ilk.diffusion.generation.weighting_accuracy import SelfBenchConfig, evaluate_weightings
from ilk.maths.folds import assign_folds

SEEDS = (0, 1, 2)
MEASURE = Measure(batch_size=512, precision="bfloat16")
WEIGHTINGS = ("uniform", "exp(-7t)", "learned")


def run(small: bool = False) -> dict[str, Any]:
    """Return generation accuracy, in-domain and cross-domain accuracy, and the gap."""
    steps, n_per_class = (10, 3) if small else (300, 20)
    seeds = [
        load_or_compute(f"self-{seed}-{steps}", partial(_evaluate_seed, seed, steps, n_per_class))
        for seed in SEEDS[: 1 if small else None]
    ]
    names = list(seeds[0]["generation"])
    return {
        "generated images that show their class": {
            name: summarize([seed["generation"][name] for seed in seeds]) for name in names
        },
        "accuracy by classifier": [
            {
                "classifier": name,
                "weighting": weighting,
                **{
                    key: summarize([seed["gaps"][weighting][name][key] for seed in seeds])
                    for key in ("in-domain", "cross-domain", "gap")
                },
                "real test images": summarize([seed["real"][name][weighting] for seed in seeds]),
            }
            for name in names
            for weighting in WEIGHTINGS
        ],
        "seeds": len(seeds),
    }


def _evaluate_seed(seed: int, steps: int, n_per_class: int) -> dict[str, Any]:
    dataset, config = load_digit_images(seed), make_digits_config(seed, steps)
    dit_config = replace(config, network="dit", options={"width": 96, "depth": 3, "patch": 2})
    networks = {
        "U-Net": load_pretrained(dataset, config, f"digits-{seed}-{steps}"),
        "DiT": load_pretrained(dataset, dit_config, f"digits-dit-{seed}-{steps}"),
    }
    settings = SelfBenchConfig(n_per_class=n_per_class, seed=seed, measure=MEASURE)
    judge = _make_knn_judge(dataset) if steps > 10 else _accept_all(dataset)
    benches = {
        name: run_self_bench(network, networks, judge, settings)
        for name, network in networks.items()
    }
    return {
        "generation": {name: bench["generation"]["value"] for name, bench in benches.items()},
        "gaps": {weighting: compute_domain_gap(benches, weighting) for weighting in WEIGHTINGS},
        "real": {
            name: _evaluate_real(network, dataset, settings) for name, network in networks.items()
        },
    }


def _make_knn_judge(dataset: ImageDataset) -> ImageClassifier:
    """Return a classifier of images: 3 nearest neighbours on the pixels of real training images."""
    from sklearn.neighbors import KNeighborsClassifier

    knn = KNeighborsClassifier(3).fit(flatten(dataset.train), dataset.train.y.numpy())

    def predict(x: Tensor) -> Tensor:
        rows = ((x.clamp(-1, 1) + 1) / 2).flatten(1).numpy()
        return torch.from_numpy(knn.predict_proba(rows))

    return predict


def _accept_all(dataset: ImageDataset) -> ImageClassifier:
    """Accept every image, in order of class: for a network that was hardly trained."""
    k = len(dataset.classes)
    return lambda x: torch.eye(k)[torch.arange(k).repeat_interleave(len(x) // k)]


def _evaluate_real(
    network: Denoiser, dataset: ImageDataset, settings: SelfBenchConfig
) -> dict[str, float]:
    test = take_balanced(dataset.test, 300 if settings.n_per_class > 3 else 40)
    is_held_out = torch.from_numpy(assign_folds(test.y.numpy(), 2, settings.seed) == 0)
    correct_by_weighting, _ = evaluate_weightings(
        network, scale_images(test), test.y, is_held_out, settings, silent_progress
    )
    return {
        weighting: float(is_correct.double().mean())
        for weighting, is_correct in correct_by_weighting.items()
    }
