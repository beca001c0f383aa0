"""`ilk draw`: pictures from a diffusion model."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("model")
@click.option("--class", "name", default="", help="Of this class [default: all in turn].")
@click.option("--n", default=16, show_default=True, help="How many pictures.")
@click.option("--out", default="drawn.png", show_default=True, help="A PNG, or a folder for each.")
@click.option("--steps", default=18, show_default=True, help="Noise levels on the way.")
@click.option("--churn", default=0.0, show_default=True, help="Fresh noise on the way; 0: none.")
@click.option("--guidance", default=1.0, show_default=True, help="Above 1: more of the class.")
@click.option("--seed", default=0, show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, mps.")
def command(
    model: str,
    name: str,
    n: int,
    out: str,
    steps: int,
    churn: float,
    guidance: float,
    seed: int,
    device: str,
) -> None:
    """Draw pictures from the diffusion model in folder MODEL."""
    from ilk.diffusion.pictures import asked, write
    from ilk.diffusion.sample import Sampler
    from ilk.diffusion.saved import load
    from ilk.encoders.device import pick

    place = pick(device)
    sampler = Sampler(steps=steps, churn=churn, guidance=guidance, seed=seed)
    denoiser = load(Path(model)).to(place)
    classes = asked(denoiser.classes, name, n)
    written = write(sampler.draw(denoiser, classes, place), Path(out))
    click.echo(f"{n} pictures in {written}")
