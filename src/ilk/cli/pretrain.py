"""`ilk pretrain`: images in, a diffusion model out, that classifies, describes and draws."""

from __future__ import annotations

from pathlib import Path

import click

from ilk.cli.options import Intake, intake_options


@click.command()
@click.argument("source")
@click.option("--out", required=True, help="Folder for the model; holds the run until it is done.")
@click.option("--unlabelled", is_flag=True, help="Take no notice of labels.")
@click.option(
    "--size",
    type=click.IntRange(min=0),
    default=0,
    help="Pixels a side [default: that of the images, up to 32].",
)
@click.option("--network", default="unet", show_default=True, help="unet or dit.")
@click.option(
    "--width",
    type=click.IntRange(min=0),
    default=0,
    help="Channels of the network [default: by size].",
)
@click.option(
    "--steps",
    type=click.IntRange(min=0),
    default=0,
    help="Updates [default: 30 passes, at least 300].",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=128,
    show_default=True,
    help="Images an update, in all processes.",
)
@click.option("--lr", default=4e-3, show_default=True, help="Highest learning rate.")
@click.option("--drop", default=0.1, show_default=True, help="Share of labels hidden in training.")
@click.option("--flips", is_flag=True, help="Mirror half of the images; wrong for digits.")
@click.option(
    "--shift",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Move images by up to so many pixels.",
)
@click.option(
    "--folds",
    type=click.IntRange(min=-1),
    default=-1,
    help="Networks more, that each leave a part of the images out, so that the classifier can be "
    "judged on the images it learns from [default: 3 for up to 5,000 images; for more, 0, and a "
    "tenth of the images is kept out].",
)
@click.option("--seed", default=0, show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, mps.")
@click.option("--precision", default="bfloat16", show_default=True, help="bfloat16 or float32.")
@click.option("--compile", "compiled", is_flag=True, help="Compile the network first (GPU).")
@intake_options
def command(
    source: str,
    out: str,
    unlabelled: bool,
    size: int,
    network: str,
    width: int,
    steps: int,
    batch: int,
    lr: float,
    drop: float,
    flips: bool,
    shift: int,
    folds: int,
    seed: int,
    device: str,
    precision: str,
    compiled: bool,
    intake: Intake,
) -> None:
    """Learn to denoise the images in SOURCE, told their class where they have one.

    SOURCE is what `ilk fit` takes; images in a val/ or test/ part are left out. The same command
    goes on after any interruption, to the same result. Several GPUs or machines:
    torchrun --nproc-per-node 4 -m ilk pretrain SOURCE --out OUT
    """
    from ilk.cli.options import show_intake
    from ilk.diffusion.crossed import Material, school
    from ilk.diffusion.pixels import grain, load
    from ilk.diffusion.plans import options, passes
    from ilk.diffusion.pretrain import Plan
    from ilk.encode import fill
    from ilk.encoders.device import pick
    from ilk.progress import silent, told
    from ilk.store import Store
    from ilk.training import ranks
    from ilk.training.loop import Machine, Recipe

    store = Store()
    images = intake.read(source, store).part("train")
    pixels = grain(images, size)
    images = images.refuse(fill(images, [pixels], store, progress=told()))
    classes = () if unlabelled else images.classes
    data, kept, _ = load(images, classes, pixels, store)
    if kept.refused:
        show_intake(kept)
    plan = Plan(
        Recipe(steps or passes(len(data), batch), batch, lr, seed=seed),
        network=network,
        options=options(network, int(data.x.shape[-1]), width),
        drop=drop,
        flips=flips,
        shift=shift,
    )
    with ranks.joined(pick(device)) as place:
        progress = told() if ranks.first() else silent
        material = Material(data, [row.digest for row in kept.used], classes)
        machine = Machine(place, precision, compiled)
        school(material, plan, Path(out), folds, machine, progress)
        if ranks.first():
            labelled = int((data.y >= 0).sum())
            click.echo(f"{len(data):,} images, {labelled:,} of them labelled")
            click.echo(f"model   {out}\nsamples {Path(out) / 'samples.png'}")
