"""The parts of a pipeline, made by the libraries that saved them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ilk.diffusion.hub.families import READ, Layout
from ilk.diffusion.hub.files import weights
from ilk.encoders import hub
from ilk.encoders.torchvision_ops import cure
from ilk.errors import InputError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def library(name: str = "diffusers") -> Any:
    """The package `name`.

    Raises:
        Unavailable: It is not installed; says how to.
    """
    hub.installed(name, "diffusers")
    cure()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own old habits, on import
        return import_module(name)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep both libraries from drawing bars and giving advice while they read."""
    spoken = []
    for name in ("diffusers", "transformers"):
        logging = library(name).utils.logging
        spoken.append((logging, logging.get_verbosity(), logging.is_progress_bar_enabled()))
        logging.set_verbosity_error()
        logging.disable_progress_bar()
    try:
        yield
    finally:
        for logging, level, bar in spoken:
            logging.set_verbosity(level)
            if bar:
                logging.enable_progress_bar()


def network(layout: Layout, part: str, kinds: tuple[str, ...], precision: str, device: str) -> Any:
    """A part with weights, ready to run.

    Args:
        layout: Where.
        part: Its name.
        kinds: The class that it is made as, then other names it may go by in its configuration.
        precision: `float32` or `bfloat16`.
        device: Where to.

    Raises:
        InputError: It is of another class, or its weights do not fill it.
    """
    told = layout.config(part)
    said = str(told.get("_class_name") or (told.get("architectures") or ["nameless"])[0])
    if said not in kinds:
        raise InputError(
            f"{layout.part(part)} holds a {said}, but {layout.family} needs a {kinds[0]}; {READ}"
        )
    source = library("transformers" if part.startswith("text_encoder") else "diffusers")
    made = _filled(getattr(source, kinds[0]), layout.part(part), part, PRECISIONS[precision])
    return made.to(device).eval().requires_grad_(False)


def _filled(kind: Any, folder: Path, part: str, dtype: torch.dtype) -> Any:
    options: dict[str, Any] = {"variant": weights(folder, part)[0], "use_safetensors": True}
    if part.startswith("text_encoder"):
        options["dtype"] = dtype
    else:
        options |= {"torch_dtype": dtype, "low_cpu_mem_usage": False}
    try:
        with quiet():
            made, info = kind.from_pretrained(
                folder, local_files_only=True, output_loading_info=True, **options
            )
    except Exception as error:  # whatever a library of a hundred networks raises on bad files
        why = str(error).strip().splitlines()
        raise InputError(
            f"{folder} makes no {kind.__name__}: {why[0] if why else type(error).__name__}"
        ) from error
    if missing := sorted(info["missing_keys"]):
        raise InputError(
            f"the weights in {folder} lack {missing[0]} and {len(missing) - 1} more; "
            "fetch them again"
        )
    return made


def fits(x: Tensor, shape: tuple[int, int, int]) -> None:
    """Refuse images that the network cannot take.

    Raises:
        InputError: They are of another shape than `[b, *shape]`.
    """
    if tuple(x.shape[1:]) != shape:
        told, takes = (" x ".join(map(str, s)) for s in (x.shape[1:], shape))
        raise InputError(f"images of {told} cannot go in: the network takes {takes}")


def square(config: dict[str, Any], where: Path, multiple: int = 1) -> int:
    """The side that a network was trained on, in its own pixels.

    Raises:
        InputError: Its configuration does not say, it is not square, or no `multiple`.
    """
    size = config.get("sample_size")
    sides = size if isinstance(size, list | tuple) else [size, size]
    if len(sides) != 2 or sides[0] != sides[1]:
        raise InputError(f"{where} takes images of {size}, which are not square; ilk needs square")
    side = sides[0]
    if not isinstance(side, int) or isinstance(side, bool) or side < 1:
        raise InputError(
            f"{where} does not say which size of image it takes (sample_size is {side}); "
            "write the size it was trained on into its config.json"
        )
    if side % multiple:
        raise InputError(
            f"{where} says it takes images of side {side}, but a network that halves them so often "
            f"needs a multiple of {multiple}; correct sample_size in its config.json"
        )
    return side
