"""Open a diffusers checkpoint from a folder or from the hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ilk.core import device as devices
from ilk.diffusion.denoiser.protocol import Denoises
from ilk.diffusion.diffusers import dit, stable_diffusion, unets
from ilk.diffusion.diffusers.families import DIT, INDEX, SD, SD3, UNET, CheckpointLayout, identify
from ilk.diffusion.diffusers.latents import LatentEncoder
from ilk.diffusion.diffusers.load_options import LoadOptions
from ilk.diffusion.diffusers.parts import import_library
from ilk.hub import client as hub
from ilk.store import Store

HUB_PREFIX = "hf-hub:"
DEFAULT_PROMPTS = ("a photo of a {}.",)
BUILDERS = {
    UNET: unets.build,
    DIT: dit.build,
    SD: stable_diffusion.build,
    SD3: stable_diffusion.build,
}


@dataclass(frozen=True, eq=False)
class LoadedCheckpoint:
    """A checkpoint whose network implements `Denoises`.

    Attributes:
        network: Denoises images, or latents if `latents` is set.
        latents: Converts images to latents and back; None for a pixel-space network.
        image_size: Height and width of the images, in pixels.
        family: `unet`, `dit`, `stable-diffusion` or `stable-diffusion-3`.
        digest: Digest of the checkpoint's files (weights, configurations, schedule, tokenizers);
            independent of classes, prompts and precision.
    """

    network: Denoises
    latents: LatentEncoder | None
    image_size: int
    family: str
    digest: str


def open_checkpoint(
    path: str | Path,
    classes: Sequence[str] | None = None,
    prompts: Sequence[str] = DEFAULT_PROMPTS,
    device: str = "cpu",
    precision: str = "float32",
    store: Store | None = None,
) -> LoadedCheckpoint:
    """Open the checkpoint in a folder or in a repository of the hub.

    Args:
        path: Folder of a pipeline saved by diffusers, folder of a single U-Net with its scheduler,
            or `hf-hub:ORG/NAME[@REVISION]`, a repository with a `model_index.json`.
        classes: Names of the classes to distinguish. Required by text-to-image pipelines; None
            selects all classes of a class-conditional network.
        prompts: Templates with `{}` for the class name, used by text-to-image pipelines. Each
            costs one network call; the predictions are averaged.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: Precision of the denoising network, `float32` or `bfloat16`. The autoencoder
            and the text encoders always run in float32.
        store: Feature store that caches prompt embeddings; None encodes the prompts each time.

    Raises:
        Unavailable: diffusers is not installed, or files are missing; the message names them.
        InputError: The checkpoint is of an unsupported family, is damaged, or does not match
            the requested classes.
    """
    source, device = str(path), devices.pick_device(device)
    is_repo = source.startswith(HUB_PREFIX)
    name = source.removeprefix(HUB_PREFIX) if is_repo else f"local-dir:{path}"
    templates = (prompts,) if isinstance(prompts, str) else tuple(prompts)
    options = LoadOptions(classes, templates, name, device, precision, store)
    import_library()  # fail early if one of the two packages is missing
    import_library("transformers")
    layout = identify(fetch_checkpoint(name)) if is_repo else _identify_complete(Path(path))
    network, latents = BUILDERS[layout.family](layout, options)
    return LoadedCheckpoint(
        network,
        latents,
        latents.image_size if latents else network.shape[1],
        layout.family,
        layout.compute_digest(*layout.networks, *layout.tokenizers, "scheduler"),
    )


def fetch_checkpoint(repo: str) -> Path:
    """Return the folder of the hub client's cache that holds all files of `repo`.

    Args:
        repo: `ORG/NAME` or `ORG/NAME@REVISION`.

    Raises:
        Unavailable: Files are neither cached nor downloadable; the message names them and the
            download command.
        InputError: The checkpoint is of an unsupported family.
    """
    layout = identify(hub.fetch(repo, hub.RequiredFiles((((INDEX,),),))))
    hub.fetch(repo, layout.required_files)
    return hub.fetch(repo, layout.weight_files)


def _identify_complete(path: Path) -> CheckpointLayout:
    """Identify a local checkpoint and check that all its files are present."""
    folder = path.expanduser()
    layout = identify(folder)
    for files in (layout.weight_files, layout.required_files):
        hub.open_local(str(folder), files)
    return layout
