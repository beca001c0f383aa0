"""Preprocessing as the two libraries write it into a checkpoint's configuration."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from ilk.encoders.preprocess import Preprocess, Size
from ilk.errors import InputError

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
OPENAI = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
FILTERS = {f.name.lower() for f in Image.Resampling}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        InputError: It cannot be read, or is something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}; fetch that file again") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no JSON object; fetch that file again")
    return found


def from_timm(config: Mapping[str, Any], where: str) -> Preprocess:
    """What timm's `resolve_data_config` and evaluation transform make of a `config.json`.

    Raises:
        InputError: It asks for something that is not supported; names the key and `where`.
    """
    told = config.get("pretrained_cfg", config)
    size = _timm_size(config, told, where)
    pct = float(told.get("crop_pct") or 0.875)
    mode = told.get("crop_mode") or "center"
    mean, std = (
        tuple(told.get(name) or default)
        for name, default in zip(("mean", "std"), IMAGENET, strict=True)
    )
    scale = (math.floor(size[0] / pct), math.floor(size[1] / pct))
    if mode not in ("center", "squash", "border"):
        raise InputError(f"{where} asks for crop_mode {mode!r}; center, squash and border are read")
    fit = {"squash": "squash", "border": "contain"}.get(mode)
    return _checked(
        where,
        size=size,
        scale=scale,
        fit=fit or ("short" if scale[0] == scale[1] else "cover"),
        interpolation=told.get("interpolation") or "bicubic",
        mean=mean,
        std=std,
        fill=tuple(round(255 * v) for v in mean) if mode == "border" else (0, 0, 0),
    )


def _timm_size(config: Mapping[str, Any], told: Mapping[str, Any], where: str) -> Size:
    channels, *size = told.get("input_size") or (3, 224, 224)
    args = config.get("model_args") or {}
    if args.get("img_size") and told.get("fixed_input_size"):
        size = args["img_size"]
        size = [size, size] if isinstance(size, int) else list(size)
    if args.get("in_chans", channels) != 3:
        raise InputError(f"{where} is of a network that sees {channels} channels; ilk gives it 3")
    return int(size[0]), int(size[1])


def from_transformers(config: Mapping[str, Any], family: str, where: str) -> Preprocess:
    """What the Pillow image processors of CLIP and SigLIP make of a `preprocessor_config.json`.

    Args:
        family: `clip` or `siglip`, whose defaults fill what the file leaves out.

    Raises:
        InputError: It asks for something that is not supported; names the key and `where`.
    """
    told = {name: value for name, value in config.items() if value is not None}
    for step in ("do_resize", "do_rescale", "do_normalize"):
        if not told.get(step, True):
            raise InputError(f"{where} turns {step} off, which ilk does not follow")
    if told.get("do_pad"):
        raise InputError(f"{where} turns do_pad on, which ilk does not follow")
    default = OPENAI if family == "clip" else HALF
    short, scale = _edges(told.get("size"), family, where)
    size = scale
    if told.get("do_center_crop", family == "clip"):
        _, size = _edges(told.get("crop_size"), family, where)
    elif short:
        raise InputError(f"{where} resizes the short edge and crops nothing: no fixed size")
    resample = Image.Resampling(int(told.get("resample", Image.Resampling.BICUBIC)))
    return _checked(
        where,
        size=size,
        scale=scale,
        fit="short" if short else "squash",
        interpolation=resample.name.lower(),
        mean=tuple(told.get("image_mean") or default[0]),
        std=tuple(told.get("image_std") or default[1]),
        crop="floor",
        factor=float(told.get("rescale_factor") or 1 / 255),
    )


def _edges(told: Any, family: str, where: str) -> tuple[bool, Size]:
    """Whether only the short edge is given, and height and width."""
    if told is None or isinstance(told, int):
        return family == "clip", (told or 224, told or 224)
    if set(told) == {"shortest_edge"}:
        return True, (told["shortest_edge"], told["shortest_edge"])
    if set(told) == {"height", "width"}:
        return False, (told["height"], told["width"])
    raise InputError(f"{where} gives size {told}; shortest_edge, or height and width, is read")


def _checked(where: str, **parts: Any) -> Preprocess:
    if parts["interpolation"] not in FILTERS:
        known = ", ".join(sorted(FILTERS))
        raise InputError(f"{where} asks for filter {parts['interpolation']!r}; known: {known}")
    if len(parts["mean"]) != 3 or len(parts["std"]) != 3:
        raise InputError(f"{where} gives mean and std of other than 3 channels")
    return Preprocess(**parts)
