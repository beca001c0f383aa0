"""`ilk draw`: sample images from a diffusion model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ilk.cli.options import add_device_option, add_seed_option
from ilk.cli.output import Result, add_json_option

if TYPE_CHECKING:
    from torch import Tensor


@click.command()
@click.argument("model")
@click.option("--class", "name", default="", help="Class to draw [default: each class in turn].")
@click.option("--count", default=16, show_default=True, help="Number of images to draw.")
@click.option(
    "--out",
    default="samples.png",
    show_default=True,
    help="PNG file for a grid of all images, or a folder for one file per image.",
)
@click.option("--steps", default=18, show_default=True, help="Number of sampling steps.")
@click.option(
    "--churn", default=0.0, show_default=True, help="Noise added while sampling; 0 adds none."
)
@click.option(
    "--guidance",
    default=1.0,
    show_default=True,
    help="Classifier-free guidance; above 1 strengthens the class.",
)
@click.option(
    "--reference", default="", help="Folder of images to measure the Fréchet distance to."
)
@click.option(
    "--encoder",
    default="pixels",
    show_default=True,
    help="Encoder whose features the Fréchet distance compares.",
)
@add_seed_option
@add_device_option
@add_json_option
def command(
    model: str,
    name: str,
    count: int,
    out: str,
    steps: int,
    churn: float,
    guidance: float,
    reference: str,
    encoder: str,
    seed: int,
    device: str,
) -> Result:
    """Sample images from the diffusion model in the folder MODEL.

    With --reference, also print the Fréchet distance between the samples and the images of a
    folder, beside the distance between two halves of that folder. It needs hundreds of samples.
    """
    from ilk.artifacts.output_files import check_outside_sources
    from ilk.core.device import pick_device
    from ilk.diffusion.checkpoint.checkpoint import load
    from ilk.diffusion.generation.images import assign_classes, check_samples_path, write_samples
    from ilk.diffusion.generation.sample import Sampler

    torch_device = pick_device(device)
    check_samples_path(Path(out), count)
    if reference:
        check_outside_sources(Path(out), reference)
    sampler = Sampler(steps=steps, churn=churn, guidance=guidance, seed=seed)
    denoiser = load(Path(model)).to(torch_device)
    classes = assign_classes(denoiser.classes, name, count)
    samples = sampler.draw(denoiser, classes, torch_device)
    path, distance = write_samples(samples, Path(out)), None
    click.echo(f"{count} images in {path}")
    if reference:
        distance = _measure_distance(samples, reference, encoder, device)
        click.echo(
            f"Fréchet distance to {distance['images']:,} images in {reference} on "
            f"{distance['encoder']}: {distance['distance']:.4g} (between their halves: "
            f"{distance['between_halves']:.4g})"
        )
    return Result({"images": count, "out": path, "frechet_distance": distance})


def _measure_distance(samples: Tensor, source: str, name: str, device: str) -> dict[str, Any]:
    """Return the Fréchet distance between samples and the images of a folder, and a baseline.

    Raises:
        InputError: There are too few samples or images.
    """
    import numpy as np

    from ilk.core.errors import InputError
    from ilk.core.progress import terminal_progress
    from ilk.diffusion.generation.images import samples_to_pil
    from ilk.encode import encode_and_refuse
    from ilk.encoders import resolve_encoder
    from ilk.images import read_images
    from ilk.maths.frechet_distance import frechet_distance
    from ilk.store import Store

    store, progress = Store(), terminal_progress()
    reference = read_images(source, verify=False, store=store, progress=progress)
    encoder = resolve_encoder(name, images=reference, device=device)
    reference = encode_and_refuse(reference, [encoder], store, progress=progress)
    features = store.get(encoder.space, [row.digest for row in reference.used])
    if min(len(samples), len(features) // 2) < 2:
        raise InputError(
            f"{len(samples)} samples and {len(features)} reference images are too few for a "
            "Fréchet distance; draw at least 2 and name a folder with at least 4, better hundreds"
        )
    encoder.load()
    pixels = [encoder.prepare(image) for image in samples_to_pil(samples)]
    sample_features = encoder.embed(np.stack(pixels))
    shuffled = features[np.random.default_rng(0).permutation(len(features))]
    half = len(shuffled) // 2
    return {
        "encoder": encoder.name,
        "images": len(features),
        "distance": frechet_distance(sample_features, features),
        "between_halves": frechet_distance(shuffled[:half], shuffled[half:]),
    }
