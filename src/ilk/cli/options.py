"""Options that several commands share. An option name has the same meaning in every command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

add_seed_option = click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Seed of the random number generator.",
)
add_device_option = click.option(
    "--device", default="auto", show_default=True, help="Device: auto, cpu, cuda, cuda:N or mps."
)


def _check_precision(_context: click.Context, _option: click.Parameter, value: str) -> str:
    from ilk.core.device import check_precision

    return check_precision(value)


add_precision_option = click.option(
    "--precision",
    default="float32",
    show_default=True,
    callback=_check_precision,
    help="Precision of network computations: float32, or bfloat16 (faster on recent GPUs).",
)
add_encoders_option = click.option(
    "--encoder",
    "encoders",
    multiple=True,
    help="Encoder to use; may be repeated. `default` stands for the default encoders.",
)
add_resize_option = click.option(
    "--resize",
    default="auto",
    show_default=True,
    help="How images of a different shape than the encoder's input are resized: crop, squash, "
    "letterbox, or auto, which also tries the whole image if a crop would cut off much.",
)
add_views_option = click.option(
    "--views",
    default="auto",
    show_default=True,
    help="Number of flips and crops over which the features of pretrained encoders are averaged: 1 "
    "for none, up to 12, or auto, which compares 1 and 6 if there are few images.",
)
add_folds_option = click.option(
    "--folds", default=5, show_default=True, help="Number of cross-validation folds."
)
add_fetch_option = click.option(
    "--fetch",
    is_flag=True,
    help="Download files of the saved model's encoder that are not on this machine, from the "
    "repository that the model names.",
)
add_force_option = click.option(
    "--force", is_flag=True, help="Write the model even if a check advises against it."
)


def add_network_options(f: F) -> F:
    """Add the options for where and how a pretrained network runs."""
    runtime = click.option(
        "--runtime",
        default="auto",
        show_default=True,
        help="Inference runtime: torch, openvino, onnxruntime, or auto for the fastest one that is "
        "installed. The features are the same.",
    )
    return add_device_option(runtime(f))
