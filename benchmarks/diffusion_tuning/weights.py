"""Makes the tuned weights in `benchmarks/weights`, which take an hour each on one core.

    python -m benchmarks.diffusion_tuning.weights fashion
    python -m benchmarks.diffusion_tuning.weights cifar

Fashion-MNIST begins with the network of `fashion-0`, pretrained on the same images, and is tuned
twice by cross-entropy over class errors, the second time at lower noise. CIFAR-10 begins with
random weights: its network learns to denoise and to tell classes apart at once, the second time at
lower noise. Finished runs and checkpoints are kept in the folder of `ILK_TRIALS`, so that a
stopped run resumes.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.diffusion_setup import (
    WEIGHTS_DIR,
    ImageDataset,
    get_cache_dir,
    load_cifar_images,
    load_fashion_images,
    make_fashion_config,
    select_machine,
)
from ilk.core.progress import terminal_progress
from ilk.diffusion.checkpoint import checkpoint as saved
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.denoiser.noise_levels import LogNormal
from ilk.diffusion.pretraining.pretrain import make_spec
from ilk.diffusion.tuning.tune import TuningConfig, tune
from ilk.training.trainer import Recipe

FASHION = (
    TuningConfig(Recipe(1200, 128, 2e-3), noise=LogNormal(-0.8, 0.7), random_flip=True),
    TuningConfig(Recipe(1000, 128, 2e-3), noise=LogNormal(-1.5, 0.6), random_flip=True),
)
CIFAR = (
    TuningConfig(
        Recipe(1500, 128, 4e-3),
        options={"max_classes": 5},
        noise=LogNormal(-1.9, 0.6),
        random_flip=True,
        max_shift=2,
    ),
    TuningConfig(
        Recipe(500, 128, 2e-3),
        options={"max_classes": 5},
        noise=LogNormal(-2.5, 0.6),
        random_flip=True,
        max_shift=2,
    ),
)


@dataclass(frozen=True)
class TunedWeights:
    """Tuned weights, and how they are made.

    Attributes:
        name: Folder in `benchmarks/weights`.
        base: Folder of the weights that tuning begins with; "" for random ones.
        published: Benchmark that measured the untuned and the supervised network.
        stages: Tuning runs, one after the other.
    """

    name: str
    base: str
    published: str
    stages: tuple[TuningConfig, ...]

    def load_dataset(self) -> ImageDataset:
        """Load the images."""
        return load_fashion_images() if self.base else load_cifar_images()

    @property
    def noise(self) -> LogNormal:
        """Noise levels of the last stage."""
        assert self.stages[-1].noise is not None, "stated above"
        return self.stages[-1].noise


TUNED = {
    "fashion": TunedWeights("fashion-tuned", "fashion-0", "diffusion_fashion", FASHION),
    "cifar": TunedWeights("cifar-tuned", "", "diffusion_colour", CIFAR),
}


def make_weights(weights: TunedWeights) -> None:
    """Tune the network and save it in bfloat16."""
    dataset, folder = weights.load_dataset(), get_cache_dir()
    base = get_start(weights, dataset)
    for i, config in enumerate(weights.stages):
        stage = folder / f"{weights.name}-stage-{i}"
        progress = terminal_progress(interval=60)
        tune(base, dataset.train, dataset.classes, config, stage, select_machine(), progress)
        base = stage
    export_weights(saved.load(base), saved.read_spec(base), weights.name)


def get_start(weights: TunedWeights, dataset: ImageDataset) -> Path:
    """Return the folder of the network that tuning begins with, made if it is a random one."""
    if weights.base:
        return WEIGHTS_DIR / weights.base
    folder = get_cache_dir() / f"{weights.name}-start"
    if not (folder / saved.JSON).exists():
        spec = make_spec(dataset.train, dataset.classes, make_fashion_config(0))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            saved.save(spec.build(), spec, folder)
    return folder


def export_weights(network: Denoiser, spec: saved.DenoiserSpec, name: str) -> Path:
    """Save a network in `benchmarks/weights` in bfloat16; return its folder."""
    folder = WEIGHTS_DIR / name
    saved.save(network.to(torch.bfloat16), spec, folder)
    (folder / ".ilk.lock").unlink(missing_ok=True)
    return folder


if __name__ == "__main__":
    make_weights(TUNED[sys.argv[1]])
