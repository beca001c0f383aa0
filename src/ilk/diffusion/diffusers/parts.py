"""Load the parts of a pipeline with the libraries that saved them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ilk.core.errors import InputError
from ilk.diffusion.diffusers.families import SUPPORTED, CheckpointLayout
from ilk.diffusion.diffusers.files import find_weights
from ilk.hub import client as hub
from ilk.hub.torchvision_ops import declare_missing_ops

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def import_library(name: str = "diffusers") -> Any:
    """Import the package `name`.

    Raises:
        Unavailable: It is not installed; the message gives the install command.
    """
    hub.require_package(name, "diffusers")
    declare_missing_ops()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations raised on import
        return import_module(name)


@contextmanager
def silence_libraries() -> Iterator[None]:
    """Suppress the progress bars and warnings of both libraries."""
    previous = []
    for name in ("diffusers", "transformers"):
        logging = import_library(name).utils.logging
        previous.append((logging, logging.get_verbosity(), logging.is_progress_bar_enabled()))
        logging.set_verbosity_error()
        logging.disable_progress_bar()
    try:
        yield
    finally:
        for logging, level, bar in previous:
            logging.set_verbosity(level)
            if bar:
                logging.enable_progress_bar()


def load_network(
    layout: CheckpointLayout, part: str, class_names: tuple[str, ...], precision: str, device: str
) -> Any:
    """Load a part with weights, in evaluation mode and frozen.

    Args:
        layout: The checkpoint.
        part: Name of the part.
        class_names: Class to instantiate, followed by other names it may have in the configuration.
        precision: `float32` or `bfloat16`.
        device: Target device.

    Raises:
        InputError: The part is of another class, or weights are missing.
    """
    config = layout.read_config(part)
    class_name = str(config.get("_class_name") or (config.get("architectures") or ["nameless"])[0])
    if class_name not in class_names:
        raise InputError(
            f"{layout.get_folder(part)} holds a {class_name}, but {layout.family} needs a "
            f"{class_names[0]}; {SUPPORTED}"
        )
    package = import_library("transformers" if part.startswith("text_encoder") else "diffusers")
    model = _load_pretrained(
        getattr(package, class_names[0]), layout.get_folder(part), part, PRECISIONS[precision]
    )
    return model.to(device).eval().requires_grad_(False)


def _load_pretrained(model_class: Any, folder: Path, part: str, dtype: torch.dtype) -> Any:
    options: dict[str, Any] = {"variant": find_weights(folder, part)[0], "use_safetensors": True}
    if part.startswith("text_encoder"):
        options["dtype"] = dtype
    else:
        options |= {"torch_dtype": dtype, "low_cpu_mem_usage": False}
    try:
        with silence_libraries():
            model, info = model_class.from_pretrained(
                folder, local_files_only=True, output_loading_info=True, **options
            )
    except Exception as error:  # the libraries raise many types on damaged files
        message = str(error).strip().splitlines()
        raise InputError(
            f"{folder} cannot be loaded as {model_class.__name__}: "
            f"{message[0] if message else type(error).__name__}"
        ) from error
    if missing := sorted(info["missing_keys"]):
        raise InputError(
            f"the weights in {folder} lack {missing[0]} and {len(missing) - 1} more; "
            "download them again"
        )
    return model


def check_shape(x: Tensor, shape: tuple[int, int, int]) -> None:
    """Check that images have the shape that the network takes.

    Raises:
        InputError: The shape is not `[b, *shape]`.
    """
    if tuple(x.shape[1:]) != shape:
        actual, expected = (" x ".join(map(str, s)) for s in (x.shape[1:], shape))
        raise InputError(f"images of {actual} cannot be processed: the network takes {expected}")


def read_square_size(config: dict[str, Any], where: Path, multiple: int = 1) -> int:
    """Return the image size that a network was trained on, in its own pixels.

    Raises:
        InputError: The configuration does not state it, or it is not square or no multiple of
            `multiple`.
    """
    size = config.get("sample_size")
    sides = size if isinstance(size, list | tuple) else [size, size]
    if len(sides) != 2 or sides[0] != sides[1]:
        raise InputError(
            f"{where} takes images of {size}, which are not square; ilk needs square images"
        )
    side = sides[0]
    if not isinstance(side, int) or isinstance(side, bool) or side < 1:
        raise InputError(
            f"{where} does not state the image size (sample_size is {side}); "
            "set it in config.json to the size the network was trained on"
        )
    if side % multiple:
        raise InputError(
            f"{where} states image size {side}, but with this number of downsampling steps it must "
            f"be a multiple of {multiple}; correct sample_size in its config.json"
        )
    return side
