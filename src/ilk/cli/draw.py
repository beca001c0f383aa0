"""`ilk draw`: pictures from a diffusion model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from torch import Tensor


@click.command()
@click.argument("model")
@click.option("--class", "name", default="", help="Of this class [default: all in turn].")
@click.option("--n", default=16, show_default=True, help="How many pictures.")
@click.option("--out", default="drawn.png", show_default=True, help="A PNG, or a folder for each.")
@click.option("--steps", default=18, show_default=True, help="Noise levels on the way.")
@click.option("--churn", default=0.0, show_default=True, help="Fresh noise on the way; 0: none.")
@click.option("--guidance", default=1.0, show_default=True, help="Above 1: more of the class.")
@click.option("--against", default="", help="A folder: print the Fréchet distance to its images.")
@click.option("--encoder", default="pixels", show_default=True, help="Whose features it is in.")
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
    against: str,
    encoder: str,
    seed: int,
    device: str,
) -> None:
    """Draw pictures from the diffusion model in folder MODEL.

    With --against, the Fréchet distance between the pictures and the images of a folder is printed,
    in an encoder's features, beside that between two halves of the folder. Draw hundreds for it.
    """
    from ilk.diffusion.pictures import asked, write
    from ilk.diffusion.sample import Sampler
    from ilk.diffusion.saved import load
    from ilk.encoders.device import pick

    place = pick(device)
    sampler = Sampler(steps=steps, churn=churn, guidance=guidance, seed=seed)
    denoiser = load(Path(model)).to(place)
    classes = asked(denoiser.classes, name, n)
    drawn = sampler.draw(denoiser, classes, place)
    click.echo(f"{n} pictures in {write(drawn, Path(out))}")
    if against:
        click.echo(_distance(drawn, against, encoder, device))


def _distance(drawn: Tensor, source: str, name: str, device: str) -> str:
    """How far the drawn pictures lie from those of a folder, as a sentence."""
    import numpy as np

    from ilk.diffusion.pictures import images
    from ilk.encode import fill
    from ilk.encoders import resolve
    from ilk.errors import InputError
    from ilk.images import read
    from ilk.maths.frechet import frechet_distance
    from ilk.progress import told
    from ilk.store import Store

    store = Store()
    found = read(source, verify=False, store=store, progress=told())
    encoder = resolve(name, images=found, device=device)
    found = found.refuse(fill(found, [encoder], store, progress=told()))
    real = store.get(encoder.space, [row.digest for row in found.used])
    if min(len(drawn), len(real) // 2) < 2:
        raise InputError(
            f"{len(drawn)} drawn and {len(real)} real images have no Fréchet distance; draw at "
            "least 2 and name a folder with at least 4, better hundreds"
        )
    encoder.load()
    made = encoder.embed(np.stack([encoder.prepare(image) for image in images(drawn)]))
    mixed = real[np.random.default_rng(0).permutation(len(real))]
    half = len(mixed) // 2
    own = frechet_distance(mixed[:half], mixed[half:])
    return (
        f"Fréchet distance to {len(real):,} images in {source} on {encoder.name}: "
        f"{frechet_distance(made, real):.4g} (between their halves: {own:.4g})"
    )
