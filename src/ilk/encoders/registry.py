"""Open an encoder by its name, or by the description that a saved model holds."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilk.core.capabilities import Embeds
from ilk.core.errors import Unavailable
from ilk.diffusion.classification.context import DEFAULT_PROMPTS, ClassificationContext
from ilk.encoders.combined import CombinedEncoder
from ilk.encoders.families import find_family, list_families
from ilk.encoders.options import EncoderOptions
from ilk.encoders.variants import split_variant
from ilk.hub import client as hub
from ilk.store import Store

if TYPE_CHECKING:
    from ilk.images import Images


def resolve_encoder(
    name: str,
    *,
    images: Images | None = None,
    device: str = "auto",
    runtime: str = "auto",
    precision: str = "float32",
    context: ClassificationContext = ClassificationContext(),  # noqa: B008  (frozen)
) -> Embeds:
    """Open the encoder called `name`.

    Reads configurations and headers but no weights; contacts the hub only for files that are not on
    this machine.

    Args:
        name: As after `--encoder`; `@resize=squash,views=6` may follow (`ilk.encoders.variants`).
        images: The images to encode; plain `pixels` fits its size to them.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; ignored by `pixels` and `hog`.
        runtime: `auto`, `torch`, `openvino` or `onnxruntime`; likewise.
        precision: `float32` or `bfloat16`; likewise.
        context: The candidate classes of a `diffusion-classifier`.

    Raises:
        UnknownName: No family has names of this form.
        InputError: The name or its files are invalid.
        Unavailable: A package, file or device is missing; the message says what to run.
    """
    options = EncoderOptions(images, device, runtime, precision, context)
    plain_name, variant = split_variant(name)
    return variant.open(find_family(plain_name).open(plain_name, options))


def restore_encoder(
    description: Mapping[str, Any],
    *,
    device: str = "auto",
    runtime: str = "auto",
    store: Store | None = None,
    fetch: bool = False,
) -> Embeds:
    """Open the encoder whose `describe` returned `description`.

    If the folder in its name does not exist, the recorded absolute folder is tried. A combination
    of encoders is restored part by part.

    The name comes from a model folder, which may be someone else's: nothing is requested from the
    hub unless `fetch` is true, and then without the user's token.

    Raises:
        Unavailable: The files are missing, or have other weights or preprocessing.
    """
    if parts := description.get("parts"):
        return CombinedEncoder(
            tuple(
                restore_encoder(d, device=device, runtime=runtime, store=store, fetch=fetch)
                for d in parts
            )
        )
    name, precision = str(description["name"]), str(description.get("precision", "float32"))
    folder = str(description.get("folder", ""))
    if not fetch:
        _refuse_remote_folder(name, folder)
    name = _relocate(name, folder)
    classes, prompts = description.get("classes"), description.get("prompts", DEFAULT_PROMPTS)
    context = ClassificationContext(classes and tuple(classes), tuple(prompts), store)
    try:
        with hub.apply_policy(hub.DownloadPolicy(fetch, False, _print_line)):
            encoder = resolve_encoder(
                name, device=device, runtime=runtime, precision=precision, context=context
            )
    except Unavailable as error:
        raise Unavailable(f"the model was fitted on features of {name}, and {error}") from None
    if encoder.space.key != description.get("key"):
        raise Unavailable(
            f"{name} on this machine is not the encoder that was fitted with: its weights, "
            "preprocessing or version differ; restore the same files, or fit again"
        )
    return encoder


def restore_base(description: Mapping[str, Any]) -> Embeds:
    """Open the encoder that another one was made from, for its network; nothing is loaded.

    If the folder in its name does not exist, the recorded absolute folder is tried.

    Args:
        description: What its `describe` returned.

    Raises:
        UnknownName, InputError, Unavailable: As `resolve_encoder`.
    """
    name, folder = str(description["name"]), str(description.get("folder", ""))
    _refuse_remote_folder(name, folder)
    precision = str(description.get("precision", "float32"))
    return resolve_encoder(
        _relocate(name, folder), device="cpu", runtime="torch", precision=precision
    )


def _print_line(line: str) -> None:
    print(line, file=sys.stderr)


def _refuse_remote_folder(name: str, folder: str) -> None:
    """Refuse folders of other machines, whose mere opening may send the user's password there.

    Raises:
        Unavailable: The name or the recorded folder of an encoder is one.
    """
    for path in (folder, name.partition(":")[2]):
        if os.name == "nt" and path.replace("/", "\\").startswith("\\\\"):
            raise Unavailable(
                f"the model names the network folder {path}, which is not opened unless you "
                "allow it: pass --fetch (in Python fetch=True) if you trust it"
            )


def _relocate(name: str, folder: str) -> str:
    """Return `name` with the recorded folder if the folder in the name does not exist."""
    plain_name, variant = split_variant(name)
    if str(variant):
        return f"{_relocate(plain_name, folder)}@{variant}"
    for family in list_families():
        head, prefix, rest = name.rpartition(family.prefix)  # also inside `clip/local-dir:PATH`
        if not (prefix and family.takes_path):
            continue
        path, separator, settings = rest.rpartition("@")
        if not (family.takes_settings and "=" in settings):  # an `@` of the path itself
            path, separator, settings = rest, "", ""
        if not Path(path).expanduser().is_dir() and Path(folder).is_dir():
            return f"{head}{prefix}{folder}{separator}{settings}"
        return name
    return name
