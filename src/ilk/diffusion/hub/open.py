"""Open a checkpoint, from a folder or from the hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ilk.diffusion.contract import Denoises
from ilk.diffusion.hub import dit, stable, unets
from ilk.diffusion.hub.asked import Asked
from ilk.diffusion.hub.families import DIT, INDEX, SD, SD3, UNET, Layout, identify
from ilk.diffusion.hub.latents import Latents
from ilk.diffusion.hub.parts import library
from ilk.encoders import device as devices
from ilk.encoders import hub
from ilk.store import Store

PROMPTS = ("a photo of a {}.",)
BUILDERS = {UNET: unets.build, DIT: dit.build, SD: stable.build, SD3: stable.build}


@dataclass(frozen=True, eq=False)
class Opened:
    """A checkpoint, ready to denoise.

    Attributes:
        network: Denoises pictures, or latents where `latents` is there.
        latents: Makes latents of pictures and draws them; None for a network on pixels.
        side: Side of the pictures, in pixels.
        family: `unet`, `dit`, `stable-diffusion` or `stable-diffusion-3`.
        digest: Of the checkpoint's files (weights, configurations, schedule, tokenizers); classes,
            prompts and precision have no part in it.
    """

    network: Denoises
    latents: Latents | None
    side: int
    family: str
    digest: str


def open_folder(
    path: str | Path,
    classes: Sequence[str] | None = None,
    prompts: Sequence[str] = PROMPTS,
    device: str = "cpu",
    precision: str = "float32",
    store: Store | None = None,
) -> Opened:
    """Open the checkpoint in the folder `path`.

    Args:
        path: A pipeline as diffusers saves it, or a lone U-Net with its scheduler.
        classes: Names of the classes to tell apart. Needed by text-to-image pipelines; None for
            all classes of a class-conditional network, which must match what it was trained on.
        prompts: Sentences with `{}` for a class name, for text-to-image pipelines; each costs one
            call of the network, and the predictions are averaged.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: Of the network: `float32` or `bfloat16`. Autoencoder and text encoders always
            run in float32.
        store: Keeps what prompts come to, so that texts are read once for good.

    Raises:
        Unavailable: diffusers is not installed, or files are missing; names them.
        InputError: The checkpoint is of another family, damaged, or does not match what is asked.
    """
    name, where = f"local-dir:{path}", devices.pick(device)
    asked = Asked(classes, _listed(prompts), name, where, precision, store)
    folder = Path(path).expanduser()
    _libraries()
    layout = identify(folder)
    for wanted in (layout.shards, layout.wanted):
        hub.local(str(folder), wanted)
    return _opened(layout, asked)


def open_repo(
    repo: str,
    classes: Sequence[str] | None = None,
    prompts: Sequence[str] = PROMPTS,
    device: str = "cpu",
    precision: str = "float32",
    store: Store | None = None,
) -> Opened:
    """Open the checkpoint in the hub's repository `repo`, from the hub client's cache if it can.

    Args:
        repo: `ORG/NAME`, or `ORG/NAME@REVISION`; it must have a `model_index.json`.
        classes, prompts, device, precision, store: As in `open_folder`.

    Raises:
        Unavailable: Files are neither in the cache nor to be had; names them and the command.
        InputError: As `open_folder` says.
    """
    where = devices.pick(device)
    asked = Asked(classes, _listed(prompts), repo, where, precision, store)
    _libraries()
    return _opened(identify(fetched(repo)), asked)


def fetched(repo: str) -> Path:
    """The folder of the hub client's cache that holds the checkpoint `repo` whole.

    Raises:
        Unavailable: Files are neither in the cache nor to be had; names them and the command.
        InputError: It is of a family that cannot be read.
    """
    layout = identify(hub.fetch(repo, hub.Wanted((((INDEX,),),))))
    hub.fetch(repo, layout.wanted)
    return hub.fetch(repo, layout.shards)


def _libraries() -> None:
    """Refuse early, in words, where one of the two is missing."""
    library()
    library("transformers")


def _listed(prompts: Sequence[str]) -> tuple[str, ...]:
    return (prompts,) if isinstance(prompts, str) else tuple(prompts)


def _opened(layout: Layout, asked: Asked) -> Opened:
    network, latents = BUILDERS[layout.family](layout, asked)
    return Opened(
        network,
        latents,
        latents.side if latents else network.shape[1],
        layout.family,
        layout.digest(*layout.networks, *layout.tokenizers, "scheduler"),
    )
