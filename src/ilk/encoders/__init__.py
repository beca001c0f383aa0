"""Encoders: from an image to a row of features, by name.

| name | network |
|---|---|
| `pixels`, `pixels/8x8x1` | none: the picture itself, shrunk |
| `hog`, `hog/32` | none: histograms of oriented gradients |
| `timm/NAME` | a network that timm knows, from the hub or its cache |
| `hf-hub:ORG/NAME` | any hub repository that holds a timm network |
| `local-dir:PATH` | a folder that holds one (`config.json`, `model.safetensors`) |
| `clip/ORG/NAME`, `clip/local-dir:PATH` | CLIP or SigLIP, with its text side |

Preprocessing comes from the network's own configuration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.data import Features
from ilk.errors import InputError, Unavailable, UnknownName
from ilk.store import Space

if TYPE_CHECKING:
    from ilk.images import Images

__all__ = ["Embeds", "EmbedsText", "defaults", "resolve", "restore"]

NAMES = ("pixels", "hog", "timm/NAME", "hf-hub:ORG/NAME", "local-dir:PATH", "clip/ORG/NAME")


@runtime_checkable
class Embeds(Protocol):
    """Gives images a place in a space where like lies near like."""

    @property
    def name(self) -> str:
        """What it is called; can be pasted back after `--encoder`."""
        ...

    @property
    def space(self) -> Space:
        """The address of its rows in the store; known without loading a network."""
        ...

    @property
    def batch(self) -> int:
        """Images that `embed` takes best at once."""
        ...

    def describe(self) -> dict[str, Any]:
        """JSON: name, key, digests, preprocessing, precision. `restore` reads it."""
        ...

    def load(self) -> None:
        """Make ready to embed: seconds for a network, nothing for the others."""
        ...

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """What the network sees of an RGB image, `[c, h, w]`. Safe in threads; needs no torch."""
        ...

    def embed(self, batch: NDArray[np.uint8]) -> Features:
        """Features `[b, d]` of prepared images `[b, c, h, w]`. Safe in threads."""
        ...


@runtime_checkable
class EmbedsText(Protocol):
    """Gives texts a place in the same space."""

    def embed_text(self, prompts: Sequence[str]) -> Features:
        """Features `[k, d]` of length 1."""
        ...


def resolve(
    name: str,
    *,
    images: Images | None = None,
    device: str = "auto",
    runtime: str = "torch",
    precision: str = "float32",
) -> Embeds:
    """The encoder called `name`. Reads configuration and header, no weights; asks the hub only
    for files that are not on this machine.

    Args:
        images: What plain `pixels` fits its size to.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; of no effect on `pixels` and `hog`.
        runtime: `torch`, `channels-last` or `openvino`; likewise.
        precision: `float32` or `bfloat16`; likewise.

    Raises:
        UnknownName: Nothing is called so.
        InputError: The name or the files it stands for cannot be used.
        Unavailable: A package, file or device is not here; says what to run.
    """
    if (found := _without_weights(name, images)) is not None:
        return found
    from ilk.encoders import clip, timm_family
    from ilk.encoders.network import Network

    family, mark, rest = _split(name)
    if not rest:
        raise InputError(f"encoder {name!r} ends too early; write {_form(family + mark)}")
    if family + mark == "clip/":
        inner, _, path = rest.partition(":")
        side = clip.open_folder(path) if inner == "local-dir" else clip.open_repo(rest)
        return clip.Clip(name, side, device, runtime, precision)
    open_it = {
        "timm/": timm_family.open_name,
        "hf-hub:": timm_family.open_repo,
        "local-dir:": timm_family.open_folder,
    }[family + mark]
    return Network(name, open_it(rest), device, runtime, precision)


def _split(name: str) -> tuple[str, str, str]:
    for form in NAMES[2:]:
        mark = ":" if ":" in form else "/"
        family = form.partition(mark)[0]
        if name == family or name.startswith(family + mark):
            return family, mark, name[len(family) + 1 :]
    raise UnknownName("encoder", name, NAMES)


def _form(prefix: str) -> str:
    return next(form for form in NAMES if form.startswith(prefix))


def _without_weights(name: str, images: Images | None) -> Embeds | None:
    from ilk.encoders.hog import Hog
    from ilk.encoders.pixels import Pixels

    family, _, rest = name.partition("/")
    if family == "pixels":
        return Pixels.read(rest) if rest else Pixels.fitting(images.used if images else ())
    if family == "hog":
        return Hog.read(rest) if rest else Hog()
    return None


def restore(
    described: Mapping[str, Any], *, device: str = "auto", runtime: str = "torch"
) -> Embeds:
    """The very encoder that gave `described` (what `describe` returned), to go on with it.

    A folder named relative to where it was run before is looked for there too.

    Raises:
        Unavailable: It is not here, or what is here has other weights or preprocessing.
    """
    name, precision = str(described["name"]), str(described.get("precision", "float32"))
    head, mark, path = name.rpartition("local-dir:")
    folder = str(described.get("folder", ""))
    if mark and not Path(path).expanduser().is_dir() and Path(folder).is_dir():
        name = f"{head}{mark}{folder}"
    found = resolve(name, device=device, runtime=runtime, precision=precision)
    if found.space.key != described.get("key"):
        raise Unavailable(
            f"{name} on this machine is not the encoder that was fitted with: its weights, "
            "preprocessing or version differ; put the same files back, or fit again"
        )
    return found


def defaults(
    images: Images, *, device: str = "auto", runtime: str = "torch", precision: str = "float32"
) -> tuple[list[Embeds], str]:
    """Good encoders that are on this machine or can be had, and one line that says which.

    `pixels` and `hog` always; a CLIP and an ImageNet network where their files are here, or where
    the hub answers within 3 seconds (it is asked once at most, never with `HF_HUB_OFFLINE`).
    """
    from ilk.encoders.choice import choose

    return choose(images, device, runtime, precision)
