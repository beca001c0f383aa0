"""`ilk tune`: tune a diffusion model's classifier and features on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ilk.cli.finite_range import FiniteRange
from ilk.cli.intake_options import IntakeOptions
from ilk.cli.options import add_device_option, add_precision_option, add_seed_option
from ilk.cli.output import Result, add_json_option
from ilk.cli.source_options import add_intake_options, add_single_label_option
from ilk.cli.tuning_data import load_images, load_unseen

if TYPE_CHECKING:
    from ilk.diffusion.pretraining.cross_fitting import PretrainingData
    from ilk.diffusion.tuning.report import TuningReport
    from ilk.store import Store
    from ilk.training.trainer import DeviceConfig


@click.command()
@click.argument("model")
@click.argument("source")
@click.option(
    "--noise-shots",
    type=click.IntRange(min=0),
    default=0,
    help="Also choose a single noise: none, a random one, or one optimized on this many images per "
    "class, such as 8.",
)
@click.option(
    "--noise-calls",
    type=click.IntRange(1, 32),
    default=1,
    show_default=True,
    help="With --noise-shots: network calls per class, each with a noise at a different level.",
)
@click.option(
    "--objective",
    default="",
    help="Also tune the network itself: cross-entropy (over the denoising errors of the classes), "
    "cca (condition contrastive alignment), contrastive-flow-matching, or ddo (direct "
    "discriminative optimization).",
)
@click.option(
    "--updates",
    type=click.IntRange(min=0),
    default=0,
    help="With --objective: number of optimizer updates [default: 3 epochs, at least 300].",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=128,
    show_default=True,
    help="With --objective: images per update.",
)
@click.option("--lr", default=2e-3, show_default=True, help="With --objective: peak learning rate.")
@click.option(
    "--anchor",
    type=FiniteRange(min=0),
    help="With --objective: weight of the denoising error of the true class; more keeps more of "
    "the drawing quality [default: that of the objective].",
)
@click.option(
    "--flip",
    is_flag=True,
    help="With --objective: flip images horizontally at random; wrong for digits.",
)
@click.option(
    "--max-shift",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="With --objective: maximum random translation in pixels.",
)
@click.option(
    "--max-levels",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="With --objective: maximum number of noise levels of the tuned classifier.",
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
    objective: str,
    updates: int,
    batch_size: int,
    lr: float,
    anchor: float | None,
    flip: bool,
    max_shift: int,
    max_levels: int,
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
    noise is chosen on images that it was not optimized on, and is none at all if that is best.

    With --objective, a copy of the network learns to tell the classes apart, on all images of
    SOURCE, and classifies from then on with few noise levels; `ilk draw` keeps the untuned network.
    A model that was pretrained without folds holds out a tenth of the unseen images. If
    interrupted, the same command resumes.
    """
    from ilk.artifacts.output_files import check_outside_sources
    from ilk.cli.output_folder import hold_model
    from ilk.cli.tuning_noise import NoiseConfig, choose_noise, describe_noise
    from ilk.cli.tuning_output import check_objective_options, describe_levels, show_tuning
    from ilk.core.device import pick_device
    from ilk.diffusion.checkpoint import checkpoint
    from ilk.diffusion.checkpoint.model_paths import find_classifier_home
    from ilk.store import Store
    from ilk.training.trainer import DeviceConfig

    check_objective_options(objective, noise_shots)
    home, store = check_outside_sources(Path(model), source), Store()
    hold_model(home, checkpoint.JSON)
    machine = DeviceConfig(pick_device(device), precision)
    report, noise = None, None
    if objective:
        recipe = (updates, batch_size, lr, seed)
        augmentations = {"random_flip": flip, "max_shift": max_shift}
        images = load_images(home, source, intake, store)[0]
        report = _tune_network(
            home, images, objective, recipe, machine, anchor, max_levels, augmentations
        )
        show_tuning(report, model)
        n_images = report.images
    else:
        n_images, n_unseen = _learn_levels(home, source, intake, store, machine)
        click.echo(describe_levels(n_images, n_unseen, model))
    if noise_shots:
        classifier_home = find_classifier_home(home)
        data = load_unseen(classifier_home, source, intake, store)
        network = checkpoint.load(classifier_home).to(machine.device)
        config = NoiseConfig(noise_shots, noise_calls, seed)
        noise = choose_noise(classifier_home, network, data, config, machine)
        click.echo(describe_noise(noise))
    return Result({"model": model, "images": n_images, "noise": noise, "tuning": report})


def _tune_network(
    home: Path,
    images: PretrainingData,
    objective: str,
    recipe: tuple[int, int, float, int],
    machine: DeviceConfig,
    anchor: float | None,
    max_levels: int,
    augmentations: dict[str, Any],
) -> TuningReport:
    """Tune the network itself; `recipe` is updates (0: the default), batch size, rate and seed."""
    from ilk.core.progress import terminal_progress
    from ilk.diffusion.tuning.cross_fitting import tune_cross_fit
    from ilk.diffusion.tuning.tune import TuningConfig, count_tuning_updates
    from ilk.training.trainer import Recipe

    updates, batch_size, lr, seed = recipe
    n_updates = updates or count_tuning_updates(len(images.batch), batch_size)
    config = TuningConfig(
        Recipe(n_updates, batch_size, lr, seed=seed),
        objective,
        anchor,
        max_levels=max_levels,
        **augmentations,
    )
    return tune_cross_fit(home, images, config, machine, terminal_progress())


def _learn_levels(
    home: Path, source: str, intake: IntakeOptions, store: Store, machine: DeviceConfig
) -> tuple[int, int]:
    """Learn noise levels and features from unseen images.

    Returns:
        The number of images behind the levels that are saved now, and that of unseen images.
    """
    from ilk.core.progress import terminal_progress
    from ilk.diffusion.checkpoint import checkpoint
    from ilk.diffusion.classification import calibration_errors
    from ilk.diffusion.pretraining.cross_fitting import save_search_and_errors

    data = load_unseen(home, source, intake, store)
    network = checkpoint.load(home).to(machine.device)
    save_search_and_errors(
        home, network, data.batch, [(network, data)], machine, terminal_progress(), data.group
    )
    calibration = calibration_errors.load(home)
    assert calibration is not None, "there is at least one image"
    return len(calibration.y), len(data.batch)
