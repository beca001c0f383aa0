"""The single noise that `ilk tune --noise-shots` chooses, and its line in the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ilk.diffusion.denoiser.karras import Denoiser
    from ilk.diffusion.pretraining.cross_fitting import PretrainingData
    from ilk.training.trainer import DeviceConfig

KIND_TEXTS = {"none": "no noise", "random": "a random noise", "optimised": "an optimized noise"}


@dataclass(frozen=True)
class NoiseConfig:
    """Choice of a noise.

    Attributes:
        shots: Images per class on which noises are optimized.
        calls: Noises, each of which costs one network call per class.
        seed: Seed of the random noises.
    """

    shots: int
    calls: int
    seed: int


def choose_noise(
    home: Path,
    network: Denoiser,
    data: PretrainingData,
    config: NoiseConfig,
    machine: DeviceConfig,
) -> dict[str, Any]:
    """Choose a noise, or several, on held-out images, save it, and score it on the others.

    Returns:
        The numbers of images of each part, the kinds of noise and their levels, what was compared,
        and accuracy and number of the images on which nothing was chosen.
    """
    from ilk.cli.output import print_note
    from ilk.core.progress import terminal_progress
    from ilk.diffusion.denoiser.protocol import normalize_images
    from ilk.diffusion.errors.class_errors import Measure
    from ilk.diffusion.noise_optimization import noise_file
    from ilk.diffusion.noise_optimization.labelled_parts import divide_images
    from ilk.diffusion.noise_optimization.selection import NoiseSelectionConfig, select_noises
    from ilk.diffusion.noise_optimization.tuning import NoiseTuningConfig

    parts = divide_images(data.batch.y.numpy(), config.shots, data.group)
    x, y = normalize_images(data.batch.x), data.batch.y
    measure = Measure("l1", precision=machine.precision, device=machine.device)
    tuning = NoiseTuningConfig(seed=config.seed, measure=measure)
    selection = NoiseSelectionConfig(config.calls, tuning=tuning)
    training, validation = ((x[rows], y[rows]) for rows in (parts.training, parts.validation))
    try:
        chosen = select_noises(network, training, validation, selection, terminal_progress())
    except KeyboardInterrupt:
        print_note("a noise is saved once all are compared, so this step starts from the beginning")
        raise
    noise_file.save(chosen, home)
    accuracy = None
    if len(parts.test):
        predicted = chosen.score_batch(network, x[parts.test], measure).scores.argmax(1)
        accuracy = float((predicted == y[parts.test]).double().mean())
    return {
        "images": len(parts.training),
        "held_out_images": len(parts.validation),
        "noises": [{"kind": m.metadata["kind"], "sigma": m.sigma} for m in chosen.members],
        "compared": chosen.metadata["candidates"],
        "accuracy": accuracy,
        "test_images": len(parts.test),
    }


def describe_noise(noise: dict[str, Any]) -> str:
    """Return which noises were chosen, and their accuracy, as a line for the terminal."""
    chosen = ", ".join(
        f"{KIND_TEXTS[n['kind']]} at sigma {n['sigma']:.3g}" for n in noise["noises"]
    )
    text = f"chosen on {noise['held_out_images']:,} held-out images: {chosen}"
    if noise["accuracy"] is None:
        return text
    return f"{text}; accuracy {noise['accuracy']:.3f} on the other {noise['test_images']:,} images"
