"""`ilk tune`: what a diffusion model's classifier and features can learn from a few labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ilk.cli.options import Intake, intake_options

LEVELS = 24  # tried for the one noise

if TYPE_CHECKING:
    from ilk.diffusion.crossed import Material
    from ilk.diffusion.denoiser import Denoiser


@click.command()
@click.argument("model")
@click.argument("source")
@click.option(
    "--noise",
    type=click.IntRange(min=0),
    default=0,
    help="Optimise one noise on so many images a class [8 is good].",
)
@click.option("--seed", default=0, show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, mps.")
@click.option("--precision", default="bfloat16", show_default=True, help="bfloat16 or float32.")
@intake_options
def command(
    model: str,
    source: str,
    noise: int,
    seed: int,
    device: str,
    precision: str,
    intake: Intake,
) -> None:
    """Learn from labelled images in SOURCE which noise levels and layers of MODEL tell most.

    Images that MODEL learnt from are left out, and so are val/ and test/ parts; what was learnt
    from more images before is kept. `ilk pretrain` does it for its own images, as far as it can;
    here for other images, or with --noise, which makes `--classifier
    diffusion:MODEL@strategy=noise` a classifier of one network call a class.
    """
    from ilk.diffusion import saved, seen, trial
    from ilk.diffusion.crossed import Material, settle
    from ilk.diffusion.pixels import grain, load
    from ilk.encoders.device import pick
    from ilk.errors import InputError
    from ilk.progress import told
    from ilk.store import Store
    from ilk.training.loop import Machine

    home, build, store = Path(model), saved.read(Path(model)), Store()
    if not build.classes:
        raise InputError(f"{model} was pretrained without labels, so there is nothing to tune")
    images = intake.read(source, store).part("train")
    channels, side, _ = build.shape
    data, kept, _ = load(images, build.classes, grain(images, side, channels), store, told())
    digests = [row.digest for row in kept.used]
    new = ~seen.load(home).learnt(data.x.numpy(), digests) & (data.y >= 0).numpy()
    material = Material(data, digests, build.classes).rows(new)
    if len(material.data) < 2:
        raise InputError(
            f"{model} learnt from all {len(data)} images in {source}, or they have no label of its "
            "classes; give labelled images that it never saw"
        )
    machine = Machine(pick(device), precision)
    network = saved.load(home).to(machine.device)
    settle(home, network, material.data, [(network, material)], machine, told())
    held = trial.load(home)
    assert held is not None, "there is at least one image"
    click.echo(f"noise levels learnt from {len(held.y):,} images, kept in {model}")
    if noise:
        click.echo(_optimised(home, network, material, noise, seed, machine.device))


def _optimised(
    home: Path, network: Denoiser, material: Material, shots: int, seed: int, device: str
) -> str:
    """Learn one noise from `shots` images a class; keep it, and say how right it is on the rest."""
    import torch

    from ilk.diffusion.classify import Measure, errors
    from ilk.diffusion.contract import unit
    from ilk.diffusion.levels import Levels
    from ilk.diffusion.single_noise import best_sigma
    from ilk.diffusion.tuning import Tuning, optimise
    from ilk.progress import told

    y, classes = material.data.y, range(len(network.classes))
    chosen = torch.cat([torch.nonzero(y == c).flatten()[:shots] for c in classes])
    x, measure = unit(material.data.x), Measure("l1", device=device)
    sigmas = torch.tensor(Levels.even(network, LEVELS).rising().sigmas)
    still = torch.zeros(len(sigmas), *network.shape)  # a noise is optimised from none at all
    sigma = best_sigma(errors(network, x[chosen], sigmas, still, measure), y[chosen], sigmas)
    settings = Tuning(seed=seed, measure=measure)
    learnt = optimise(network, x[chosen], y[chosen], sigma, settings, told())
    learnt.save(home)
    rest = torch.ones(len(y), dtype=torch.bool)
    rest[chosen] = False
    if not bool(rest.any()):
        return f"one noise optimised on {len(chosen)} images at sigma {sigma:.3g}"
    right = learnt.judge(network, x[rest], measure).scores.argmax(1) == y[rest]
    return (
        f"one noise optimised on {len(chosen)} images at sigma {sigma:.3g}: right on "
        f"{right.double().mean():.3f} of the other {int(rest.sum()):,}"
    )
