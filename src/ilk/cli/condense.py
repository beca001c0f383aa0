"""`ilk condense`: a few images per class that train nearly as good a classifier."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ilk.cli.intake_options import IntakeOptions
from ilk.cli.options import add_network_options, add_seed_option
from ilk.cli.output import Result, add_json_option, print_note, print_table, show_intake
from ilk.cli.source_options import add_intake_options, add_single_label_option
from ilk.core.terminal_text import escape_line

if TYPE_CHECKING:
    from ilk.subset_selection.condense_result import CondenseResult

CLASSIFIERS = {
    "network": "small network, trained from scratch",
    "head": "head on features of the encoder",
}


@click.command()
@click.argument("source")
@click.option(
    "--per-class",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Number of images of each class.",
)
@click.option("--out", required=True, help="Folder for the images.")
@click.option(
    "--method",
    default="auto",
    show_default=True,
    help="DistributionMatching, DCC, ClassGradientMatching or NRRDD, which make synthetic images; "
    "Herding, KCenter or RandomImages, which choose real ones; or auto, which uses the best of "
    "several on held-out images.",
)
@click.option(
    "--encoder",
    "encoder_name",
    default="efficientnet-lite0",
    show_default=True,
    help="Encoder whose features are used to choose images, and to measure the loss of accuracy.",
)
@click.option(
    "--image-size",
    type=click.IntRange(min=0),
    default=0,
    help="Height and width of synthetic images in pixels [default: that of the images, up to 32].",
)
@click.option(
    "--updates",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Number of optimizer updates of each small network that is trained on the few images; the "
    "one trained on all images takes three times as many.",
)
@click.option("--flip", is_flag=True, help="Flip images horizontally at random; wrong for digits.")
@add_seed_option
@add_single_label_option
@add_intake_options
@add_network_options
@add_json_option
def command(
    source: str,
    per_class: int,
    out: str,
    method: str,
    encoder_name: str,
    image_size: int,
    updates: int,
    flip: bool,
    seed: int,
    intake: IntakeOptions,
    device: str,
    runtime: str,
) -> Result:
    """Write to OUT a few images per class of SOURCE that train nearly as good a classifier.

    The images are synthetic (their pixels are optimized: dataset condensation) or chosen from
    SOURCE (a coreset), whichever gives the more accurate small network on held-out images. The loss
    of accuracy is measured on other held-out images. OUT is an ordinary image folder for `ilk fit`;
    its selection.json says which images are synthetic and what was measured.

    The val and test splits are left out. If interrupted, the same command resumes.
    """
    from ilk.artifacts.output_files import check_outside_sources
    from ilk.cli.output_folder import hold
    from ilk.core.progress import terminal_progress
    from ilk.diffusion.pretraining.pixels import choose_pixels
    from ilk.encode import encode_and_refuse
    from ilk.encoders import resolve_encoder
    from ilk.store import Store
    from ilk.subset_selection.condense import CondenseConfig, condense_images, delete_states
    from ilk.subset_selection.folder import check_image_folder, write_image_folder
    from ilk.training.recipe import DeviceConfig

    config = CondenseConfig(per_class, method, flip, seed, updates)
    folder = check_outside_sources(Path(out), source)
    hold(folder, check_image_folder)
    store = Store()
    images = intake.read_images(source, store).select_split("train")
    images.check_not_empty()
    encoder = resolve_encoder(encoder_name, images=images, device=device, runtime=runtime)
    pixels = choose_pixels(images, image_size)
    progress = terminal_progress()
    images = encode_and_refuse(images, [encoder, pixels], store, progress=progress, log=click.echo)
    if images.refused:
        show_intake(images)
    device_config = DeviceConfig.for_device(device)
    result = condense_images(
        images, encoder, pixels, store, config, folder, device_config, progress
    )
    write_image_folder(folder, result.images, "condense", result.to_json(), progress)
    delete_states(folder)
    _show(result)
    words = ("ilk", "fit", str(folder), "--encoder", encoder_name)
    click.echo(f"images     {folder}")
    click.echo(f"next       {escape_line(shlex.join(words))} --out MODEL")
    return Result({"folder": str(folder), **result.to_json()})


def _show(result: CondenseResult) -> None:
    """Print which method was taken and what is lost."""
    if len(result.scores) > 1:
        tried = [
            (name + (" *" if name == result.method else ""), str(score))
            for name, score in result.scores.items()
        ]
        print_table(("method (* is used)", "accuracy of the small network"), tried)
    few, kind = len(result.images), "synthetic" if result.is_synthetic else "chosen"
    rows = [
        (
            CLASSIFIERS[name],
            str(judged.of_all),
            str(judged.of_few),
            f"{judged.gap:+z.3f}",
        )
        for name, judged in result.judgements.items()
    ]
    head = ("classifier", f"all {result.n_training:,} images", f"{few:,} {kind}", "difference")
    print_table(head, rows)
    click.echo(
        f"accuracy on {result.n_judged:,} held-out images, which were used neither for training "
        "nor for the choice; 95 % intervals"
    )
    for note in result.notes:
        print_note(note)
