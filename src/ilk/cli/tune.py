"""`ilk tune`: tune a diffusion model's classifier and features on labelled images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ilk.cli.intake_options import IntakeOptions
from ilk.cli.options import add_device_option, add_precision_option, add_seed_option
from ilk.cli.output import Result, add_json_option, print_note
from ilk.cli.source_options import add_intake_options, add_single_label_option

if TYPE_CHECKING:
    from ilk.diffusion.denoiser.karras import Denoiser
    from ilk.diffusion.pretraining.cross_fitting import PretrainingData
    from ilk.store import Store
    from ilk.training.trainer import DeviceConfig


@click.command()
@click.argument("model")
@click.argument("source")
@click.option(
    "--noise-shots",
    type=click.IntRange(min=0),
    default=0,
    help="Also choose a single noise: none, a random one, or one optimised on this many images per "
    "class, such as 8.",
)
@click.option(
    "--noise-calls",
    type=click.IntRange(1, 32),
    default=1,
    show_default=True,
    help="Network calls per class, each a noise at another level (with --noise-shots).",
)
@add_seed_option
@add_device_option
@add_precision_option
@add_single_label_option
@add_intake_options
@add_json_option
def command(
    model: str,
    source: str,
    noise_shots: int,
    noise_calls: int,
    seed: int,
    device: str,
    precision: str,
    intake: IntakeOptions,
) -> Result:
    """Learn which noise levels and layers of the diffusion model MODEL classify SOURCE best.

    Images that MODEL was trained on are left out, as are the val and test splits. The result
    replaces an earlier one only if it is based on at least as many images. `ilk pretrain` does the
    same with held-out training images. With --noise-shots, `--classifier
    diffusion:MODEL@strategy=noise` is a classifier that needs one network call per class. Its
    noise is chosen on images that it was not optimised on, and is none at all if that is best.
    """
    from ilk.artifacts.output_files import check_outside_sources
    from ilk.cli.output_folder import hold_model
    from ilk.core.device import pick_device
    from ilk.core.progress import terminal_progress
    from ilk.diffusion.checkpoint import checkpoint
    from ilk.diffusion.classification import calibration_errors
    from ilk.diffusion.pretraining.cross_fitting import save_search_and_errors
    from ilk.store import Store
    from ilk.training.trainer import DeviceConfig

    home, store = check_outside_sources(Path(model), source), Store()
    hold_model(home, checkpoint.JSON)
    data = _load_unseen(home, source, intake, store)
    device_config = DeviceConfig(pick_device(device), precision)
    network = checkpoint.load(home).to(device_config.device)
    save_search_and_errors(
        home, network, data.batch, [(network, data)], device_config, terminal_progress(), data.group
    )
    calibration = calibration_errors.load(home)
    assert calibration is not None, "there is at least one image"
    n_images = len(calibration.y)
    click.echo(f"noise levels learned from {n_images:,} images and saved in {model}")
    noise = None
    if noise_shots:
        config = _NoiseConfig(noise_shots, noise_calls, seed)
        noise = _choose_noise(home, network, data, config, device_config)
        click.echo(_describe_noise(noise))
    return Result({"model": model, "images": n_images, "noise": noise})


def _load_unseen(home: Path, source: str, intake: IntakeOptions, store: Store) -> PretrainingData:
    """Load the labelled training images of `source` that the model was not trained on.

    Raises:
        InputError: The model has no classes, or there is no such image.
    """
    import numpy as np

    from ilk.core.errors import InputError
    from ilk.core.progress import terminal_progress
    from ilk.diffusion.checkpoint import checkpoint, training_images
    from ilk.diffusion.pretraining.cross_fitting import PretrainingData
    from ilk.diffusion.pretraining.pixels import choose_pixels, load_batch
    from ilk.images import adopt_spellings, number_row_groups
    from ilk.maths.folds import has_shared_groups, share_group

    spec = checkpoint.read_spec(home)
    if not spec.classes:
        raise InputError(f"{home} was pretrained without labels, so there is nothing to tune")
    channels, size, _ = spec.shape
    images = intake.read_images(source, store).select_split("train")
    images, note = adopt_spellings(images, spec.classes)
    if note:
        print_note(note)
    pixels = choose_pixels(images, size, channels)
    batch, used_images, _ = load_batch(images, spec.classes, pixels, store, terminal_progress())
    digests = [row.digest for row in used_images.used]
    is_trained_on = training_images.load(home).is_training_image(batch.x.numpy(), digests)
    is_labelled = (batch.y >= 0).numpy()
    group = number_row_groups(used_images.used)
    is_trained_on |= share_group(group, np.flatnonzero(is_trained_on))
    data = PretrainingData(
        batch, digests, spec.classes, group if has_shared_groups(group) else None
    ).select(~is_trained_on & is_labelled)
    if len(data.batch) < 2:
        raise InputError(
            f"{home} was trained on all {len(batch)} images in {source}, or they have none of its "
            "classes as label; give labelled images that it was not trained on"
        )
    return data


@dataclass(frozen=True)
class _NoiseConfig:
    shots: int
    calls: int
    seed: int


def _choose_noise(
    home: Path,
    network: Denoiser,
    data: PretrainingData,
    config: _NoiseConfig,
    machine: DeviceConfig,
) -> dict[str, Any]:
    """Choose a noise, or several, on held-out images, save it, and score it on the others.

    Returns:
        The numbers of images of each part, the kinds of noise and their levels, what was compared,
        and accuracy and number of the images on which nothing was chosen.
    """
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
    chosen = select_noises(network, training, validation, selection, terminal_progress())
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


KIND_TEXTS = {"none": "no noise", "random": "a random noise", "optimised": "an optimised noise"}


def _describe_noise(noise: dict[str, Any]) -> str:
    chosen = ", ".join(
        f"{KIND_TEXTS[n['kind']]} at sigma {n['sigma']:.3g}" for n in noise["noises"]
    )
    text = f"chosen on {noise['held_out_images']:,} held-out images: {chosen}"
    if noise["accuracy"] is None:
        return text
    return f"{text}; accuracy {noise['accuracy']:.3f} on the other {noise['test_images']:,} images"
