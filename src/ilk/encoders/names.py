"""From a name to the encoder that it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilk.encoders.among import PROMPTS, Among
from ilk.encoders.capabilities import Embeds
from ilk.errors import InputError, Unavailable, UnknownName
from ilk.store import Store

if TYPE_CHECKING:
    from ilk.images import Images

NAMES = (
    "pixels",
    "hog",
    "timm/NAME",
    "hf-hub:ORG/NAME",
    "local-dir:PATH",
    "clip/ORG/NAME",
    "diffusion:PATH",
    "diffusion-classifier:PATH",
)
FOLDERS = ("local-dir:", "diffusion:", "diffusion-classifier:")  # what is followed by a path


def resolve(
    name: str,
    *,
    images: Images | None = None,
    device: str = "auto",
    runtime: str = "torch",
    precision: str = "float32",
    among: Among = Among(),  # noqa: B008  (frozen)
) -> Embeds:
    """The encoder called `name`. Reads configuration and header, no weights; asks the hub only
    for files that are not on this machine.

    Args:
        images: What plain `pixels` fits its size to.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; of no effect on `pixels` and `hog`.
        runtime: `torch`, `channels-last` or `openvino`; likewise.
        precision: `float32` or `bfloat16`; likewise.
        among: What a `diffusion-classifier` chooses among.

    Raises:
        UnknownName: Nothing is called so.
        InputError: The name or the files it stands for cannot be used.
        Unavailable: A package, file or device is not here; says what to run.
    """
    if (found := _without_weights(name, images)) is not None:
        return found
    family, mark, rest = _split(name)
    if not rest:
        raise InputError(f"encoder {name!r} ends too early; write {_form(family + mark)}")
    if family.startswith("diffusion"):
        return _diffusion(name, among, device, precision)
    from ilk.encoders import clip, timm_family
    from ilk.encoders.network import Network

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


def _diffusion(name: str, among: Among, device: str, precision: str) -> Embeds:
    from ilk.diffusion import class_scores, encoder

    if name.startswith(class_scores.FAMILY):
        return class_scores.ClassScores(name, among, device, precision)
    return encoder.open_folder(name, device, precision)


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
    described: Mapping[str, Any],
    *,
    device: str = "auto",
    runtime: str = "torch",
    store: Store | None = None,
) -> Embeds:
    """The very encoder that gave `described` (what `describe` returned), to go on with it.

    A folder named relative to where it was run before is looked for there too.

    Raises:
        Unavailable: It is not here, or what is here has other weights or preprocessing.
    """
    name, precision = str(described["name"]), str(described.get("precision", "float32"))
    name = _moved(name, str(described.get("folder", "")))
    classes, prompts = described.get("classes"), described.get("prompts", PROMPTS)
    among = Among(classes and tuple(classes), tuple(prompts), store)
    try:
        found = resolve(name, device=device, runtime=runtime, precision=precision, among=among)
    except Unavailable as error:
        raise Unavailable(f"the model was fitted on features of {name}, and {error}") from None
    if found.space.key != described.get("key"):
        raise Unavailable(
            f"{name} on this machine is not the encoder that was fitted with: its weights, "
            "preprocessing or version differ; put the same files back, or fit again"
        )
    return found


def _moved(name: str, folder: str) -> str:
    """`name` with the folder that it was run with, where the one it names is not there."""
    head, mark, rest = next(
        (found for m in FOLDERS if (found := name.rpartition(m))[1]), ("", "", "")
    )
    path, at, settings = rest.rpartition("@")
    if not (mark.startswith("diffusion") and "=" in settings):
        path, at, settings = rest, "", ""
    if mark and not Path(path).expanduser().is_dir() and Path(folder).is_dir():
        return f"{head}{mark}{folder}{at}{settings}"
    return name
