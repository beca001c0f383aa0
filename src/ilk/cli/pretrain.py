"""`ilk pretrain`: pretrain a diffusion model that classifies, embeds and draws images."""

from __future__ import annotations

from pathlib import Path

import click

from ilk.cli.intake_options import IntakeOptions
from ilk.cli.options import add_device_option, add_precision_option, add_seed_option
from ilk.cli.output import Result, add_json_option
from ilk.cli.source_options import add_intake_options, add_single_label_option

NON_NEGATIVE, POSITIVE = click.IntRange(min=0), click.IntRange(min=1)


@click.command()
@click.argument("source")
@click.option("--out", required=True, help="Folder for the model and its training checkpoint.")
@click.option("--ignore-labels", is_flag=True, help="Pretrain an unconditional model.")
@click.option(
    "--image-size",
    type=NON_NEGATIVE,
    default=0,
    help="Height and width of the model's images in pixels [default: that of the images, up to "
    "32].",
)
@click.option("--network", default="unet", show_default=True, help="Architecture: unet or dit.")
@click.option(
    "--width",
    type=NON_NEGATIVE,
    default=0,
    help="Number of channels of the network [default: depends on the image size].",
)
@click.option(
    "--updates",
    type=NON_NEGATIVE,
    default=0,
    help="Number of optimizer updates [default: 30 epochs, at least 300].",
)
@click.option(
    "--batch-size",
    type=POSITIVE,
    default=128,
    show_default=True,
    help="Images per update, over all processes.",
)
@click.option("--lr", default=4e-3, show_default=True, help="Peak learning rate.")
@click.option(
    "--label-dropout",
    default=0.1,
    show_default=True,
    help="Fraction of labels hidden during training.",
)
@click.option("--flip", is_flag=True, help="Flip images horizontally at random; wrong for digits.")
@click.option(
    "--max-shift",
    type=NON_NEGATIVE,
    default=0,
    show_default=True,
    help="Maximum random translation in pixels.",
)
@click.option(
    "--folds",
    type=click.IntRange(min=-1),
    default=-1,
    help="Number of cross-validation folds: one more network is trained per fold, without its "
    "images, to calibrate the classifier on the training images [default: 3 for up to 5,000 "
    "images; for more, 0, and a tenth of the images is held out instead].",
)
@click.option(
    "--objective",
    default="",
    help="Tune the network after pretraining, as `ilk tune --objective` does: cross-entropy, cca, "
    "contrastive-flow-matching or ddo.",
)
@add_seed_option
@add_device_option
@add_precision_option
@click.option("--compile", "compiled", is_flag=True, help="Compile the network first (GPU only).")
@add_single_label_option
@add_intake_options
@add_json_option
def command(
    source: str,
    out: str,
    ignore_labels: bool,
    image_size: int,
    network: str,
    width: int,
    updates: int,
    batch_size: int,
    lr: float,
    label_dropout: float,
    flip: bool,
    max_shift: int,
    folds: int,
    objective: str,
    seed: int,
    device: str,
    precision: str,
    compiled: bool,
    intake: IntakeOptions,
) -> Result:
    """Pretrain a diffusion model on the images of SOURCE, class-conditional where they have labels.

    SOURCE is read as by `ilk fit`; the val and test splits are left out. If interrupted, the same
    command resumes and gives the same result. To use several GPUs or machines, preferably with a
    shard folder (`ilk encode SOURCE --list-only --out SHARDS`), of which each process decodes its
    own part:

    \b
    torchrun --nproc-per-node 4 --max-restarts 3 -m ilk pretrain SHARDS --out OUT
    """
    from ilk.artifacts.output_files import check_outside_sources
    from ilk.cli.output_folder import hold
    from ilk.cli.pretrain_source import load_training_data
    from ilk.cli.tuning_output import check_pretrain_objective, show_tuning
    from ilk.core.device import pick_device
    from ilk.core.progress import silent_progress, terminal_progress
    from ilk.diffusion.pretraining.cross_fitting import pretrain_cross_fit
    from ilk.diffusion.pretraining.presets import choose_options, count_updates
    from ilk.diffusion.pretraining.pretrain import PretrainConfig
    from ilk.diffusion.tuning.cross_fitting import tune_cross_fit
    from ilk.diffusion.tuning.tune import TuningConfig, count_tuning_updates
    from ilk.training import distributed
    from ilk.training.trainer import DeviceConfig, Recipe

    check_pretrain_objective(objective, ignore_labels)
    check_outside_sources(Path(out), source)
    with distributed.join_process_group(pick_device(device)) as device_used:
        training_data = load_training_data(source, Path(out), image_size, ignore_labels, intake)
        data = training_data.batch
        n_labelled = int((data.y >= 0).sum())
        config = PretrainConfig(
            Recipe(updates or count_updates(len(data), batch_size), batch_size, lr, seed=seed),
            network=network,
            options=choose_options(network, data.row_shape[-1], width),
            label_dropout=label_dropout,
            random_flip=flip,
            max_shift=max_shift,
        )
        is_main = distributed.is_main_process()
        device_config = DeviceConfig(device_used, precision, compiled)
        progress = terminal_progress() if is_main else silent_progress
        if is_main:
            hold(Path(out), lambda folder: folder)
        pretrain_cross_fit(training_data, config, Path(out), folds, device_config, progress)
        if is_main:
            click.echo(f"{len(data):,} images, {n_labelled:,} of them labelled")
            click.echo(f"model   {out}\nsamples {Path(out) / 'samples.png'}")
        report = None
        if objective and is_main:
            tuning_updates = count_tuning_updates(len(data), batch_size)
            tuning_config = TuningConfig(
                Recipe(tuning_updates, batch_size, seed=seed),
                objective,
                random_flip=flip,
                max_shift=max_shift,
            )
            report = tune_cross_fit(
                Path(out), training_data, tuning_config, device_config, progress
            )
            show_tuning(report, out)
    samples = Path(out) / "samples.png"
    return Result(
        {
            "model": out,
            "samples": samples,
            "images": len(data),
            "labelled": n_labelled,
            "tuning": report,
        }
    )
