"""Read preprocessing from checkpoint configurations of timm and transformers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from ilk.core.errors import InputError
from ilk.hub.preprocessing import Preprocess, Size

IMAGENET_MEAN_STD = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
OPENAI_MEAN_STD = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF_MEAN_STD = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
INTERPOLATIONS = {f.name.lower() for f in Image.Resampling}


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file.

    Raises:
        InputError: It cannot be read or is not a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}; download that file again") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no JSON object; download that file again")
    return content


def parse_timm_config(config: Mapping[str, Any], source: str) -> Preprocess:
    """Return the preprocessing that timm derives from a `config.json` for evaluation.

    Raises:
        InputError: A setting is not supported; the message names the key and `source`.
    """
    pretrained = config.get("pretrained_cfg", config)
    size = _parse_timm_size(config, pretrained, source)
    crop_pct = float(pretrained.get("crop_pct") or 0.875)
    mode = pretrained.get("crop_mode") or "center"
    mean, std = (
        tuple(pretrained.get(name) or default)
        for name, default in zip(("mean", "std"), IMAGENET_MEAN_STD, strict=True)
    )
    scale = (math.floor(size[0] / crop_pct), math.floor(size[1] / crop_pct))
    if mode not in ("center", "squash", "border"):
        raise InputError(
            f"{source} has crop_mode {mode!r}; supported are center, squash and border"
        )
    fit = {"squash": "squash", "border": "contain"}.get(mode)
    return _build_preprocess(
        source,
        size=size,
        scale=scale,
        fit=fit or ("short" if scale[0] == scale[1] else "cover"),
        interpolation=pretrained.get("interpolation") or "bicubic",
        mean=mean,
        std=std,
        fill=tuple(round(255 * v) for v in mean) if mode == "border" else (0, 0, 0),
    )


def _parse_timm_size(config: Mapping[str, Any], pretrained: Mapping[str, Any], source: str) -> Size:
    channels, *size = pretrained.get("input_size") or (3, 224, 224)
    args = config.get("model_args") or {}
    if args.get("img_size") and pretrained.get("fixed_input_size"):
        size = args["img_size"]
        size = [size, size] if isinstance(size, int) else list(size)
    if args.get("in_chans", channels) != 3:
        raise InputError(
            f"{source} describes a network with {channels} input channels; ilk supports 3"
        )
    return int(size[0]), int(size[1])


def parse_transformers_config(config: Mapping[str, Any], family: str, source: str) -> Preprocess:
    """Return the preprocessing that a `preprocessor_config.json` of CLIP or SigLIP describes.

    Args:
        family: `clip` or `siglip`, whose defaults apply to missing keys.

    Raises:
        InputError: A setting is not supported; the message names the key and `source`.
    """
    given = {name: value for name, value in config.items() if value is not None}
    for step in ("do_resize", "do_rescale", "do_normalize"):
        if not given.get(step, True):
            raise InputError(f"{source} turns {step} off, which ilk does not support")
    if given.get("do_pad"):
        raise InputError(f"{source} turns do_pad on, which ilk does not support")
    default = OPENAI_MEAN_STD if family == "clip" else HALF_MEAN_STD
    short, scale = _parse_edges(given.get("size"), family, source)
    size = scale
    if given.get("do_center_crop", family == "clip"):
        _, size = _parse_edges(given.get("crop_size"), family, source)
    elif short:
        raise InputError(f"{source} resizes the short edge and crops nothing: no fixed size")
    resample = Image.Resampling(int(given.get("resample", Image.Resampling.BICUBIC)))
    return _build_preprocess(
        source,
        size=size,
        scale=scale,
        fit="short" if short else "squash",
        interpolation=resample.name.lower(),
        mean=tuple(given.get("image_mean") or default[0]),
        std=tuple(given.get("image_std") or default[1]),
        crop="floor",
        factor=float(given.get("rescale_factor") or 1 / 255),
    )


def _parse_edges(size: Any, family: str, source: str) -> tuple[bool, Size]:
    """Return whether only the short edge is given, with height and width."""
    if size is None or isinstance(size, int):
        return family == "clip", (size or 224, size or 224)
    if set(size) == {"shortest_edge"}:
        return True, (size["shortest_edge"], size["shortest_edge"])
    if set(size) == {"height", "width"}:
        return False, (size["height"], size["width"])
    raise InputError(f"{source} has size {size}; supported are shortest_edge, or height and width")


def _build_preprocess(source: str, **fields: Any) -> Preprocess:
    if fields["interpolation"] not in INTERPOLATIONS:
        known = ", ".join(sorted(INTERPOLATIONS))
        raise InputError(f"{source} has filter {fields['interpolation']!r}; known: {known}")
    if len(fields["mean"]) != 3 or len(fields["std"]) != 3:
        raise InputError(f"{source} gives mean and std of other than 3 channels")
    return Preprocess(**fields)
