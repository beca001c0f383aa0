"""Which variants of a pretrained encoder are compared beside the plain one, and what they gain.

A variant is a candidate like any other, and cross-validation decides. It is added only where it can
matter and where few images have to be encoded again: the whole image between bars where a centre
crop would cut off much of many images, and the mean over views where there are few images per
class. The benchmark `whole_images` measures both: up to 3:2 a crop loses nothing, from 2:1 on it
does, and bars lose less than squashing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeGuard, cast

import numpy as np

from ilk.core.capabilities import Embeds, ResizeMode, Resizes, ScoresClasses
from ilk.core.leaderboard import CandidateResult
from ilk.encoders.families import is_pretrained
from ilk.encoders.variants import Variant, apply_resize, split_variant
from ilk.fitting.config import FitConfig
from ilk.images import Images, Row

NOTICEABLE_CUT, MIN_NOTICEABLE = 0.4, 0.25  # sides of 5:3, a quarter of the images: compare
SEVERE_CUT, MIN_SEVERE = 0.5, 0.5  # sides of 2:1, half of them: bars without a comparison
MAX_RESIZED = 500  # images that are encoded again, summed over encoders: 5 to 10 s on two cores
N_VIEWS = 6
MAX_VIEWED = 150  # images, summed over encoders: 900 views, 10 to 15 s on two cores
MAX_IMAGES_PER_CLASS = 10  # median over classes from which on views gain nothing
MIN_SIDE = 64  # median short side in pixels; crops of smaller images show nothing new

LogCallback = Callable[[str], None]


def apply_settings(
    encoders: Sequence[Embeds], resize: str, views: int | str, log: LogCallback
) -> list[Embeds]:
    """Return the encoders with `resize` and `views` where these are fixed and not `auto`.

    A setting in the name of an encoder takes precedence. Encoders with a fixed way to read images
    keep it, and so do encoders without pretrained weights for views.
    """
    changed: list[Embeds] = []
    unchanged: list[str] = []
    for encoder in encoders:
        own = split_variant(encoder.name)[1]
        if resize != "auto" and own.resize is None:
            resized = apply_resize(encoder, cast("ResizeMode", resize))
            unchanged += [] if resized else [encoder.name]
            encoder = resized or encoder
        if views != "auto" and own.views == 1 and _has_variants(encoder):
            encoder = Variant(views=int(views)).open(encoder)
        changed.append(encoder)
    if unchanged:
        log(f"--resize does not change {', '.join(unchanged)}: it reads images in a fixed way")
    return changed


def add_variants(
    encoders: Sequence[Embeds], images: Images, config: FitConfig, log: LogCallback
) -> list[Embeds]:
    """Return `encoders` followed by the variants that `resize` and `views` of `auto` ask for."""
    plain = [e for e in encoders if _is_plain_network(e)]
    labels = [name for row in images.used if row.split == "train" for name in row.names]
    counts = np.array(list(Counter(labels).values()))
    if not plain or not len(counts) or counts.max() < 2:  # cross-validation needs two images
        return list(encoders)
    n_encoded, added = len(images.used) * len(plain), list[Embeds]()
    if config.resize == "auto" and n_encoded <= MAX_RESIZED:
        added += add_letterboxed(plain, images.used, log)
    elif config.resize == "auto":
        encoders = [choose_resize(e, images.used, "auto", log) for e in encoders]
    if config.views == "auto" and n_encoded <= MAX_VIEWED:
        added += _add_viewed(plain, images.used, float(np.median(counts)), log)
    return [*encoders, *added]


def _add_viewed(
    encoders: Sequence[Embeds], rows: Sequence[Row], per_class: float, log: LogCallback
) -> list[Embeds]:
    """Return variants with views, if there are few images per class and they are not tiny."""
    is_tiny = np.median([min(row.width, row.height) for row in rows]) < MIN_SIDE
    if is_tiny or per_class >= MAX_IMAGES_PER_CLASS:
        return []
    viewed = [Variant(views=N_VIEWS).open(encoder) for encoder in encoders]
    log(
        f"{_list_names(viewed)} also compared: there are {per_class:g} images per class "
        f"(median), and the mean over {N_VIEWS} views may help"
    )
    return viewed


def add_letterboxed(
    encoders: Sequence[Embeds], rows: Sequence[Row], log: LogCallback
) -> list[Embeds]:
    """Return variants of the encoders that crop, if that cuts off much of many images."""
    if (fraction := measure_cut(rows, NOTICEABLE_CUT)) <= MIN_NOTICEABLE:
        return []
    whole = [e.with_resize("letterbox") for e in encoders if _crops_by_default(e)]
    if whole:
        log(
            f"{_list_names(whole)} also compared: a centre crop cuts more than "
            f"{NOTICEABLE_CUT:.0%} off {fraction:.0%} of the images"
        )
    return whole


def choose_resize(encoder: Embeds, rows: Sequence[Row], resize: str, log: LogCallback) -> Embeds:
    """Return an encoder with the given way to resize, decided without a comparison.

    `auto` puts the whole image between bars where a crop would cut off at least half of most.
    """
    if resize != "auto":
        return apply_settings([encoder], resize, 1, log)[0]
    fraction = measure_cut(rows, SEVERE_CUT)
    if fraction <= MIN_SEVERE or not _crops_by_default(encoder):
        return encoder
    whole = encoder.with_resize("letterbox")
    log(
        f"{whole.name} replaces {encoder.name}: a centre crop cuts more than {SEVERE_CUT:.0%} off "
        f"{fraction:.0%} of the images (--resize crop crops them)"
    )
    return whole


def measure_cut(rows: Sequence[Row], max_cut: float) -> float:
    """Return the fraction of images of which a square crop cuts off more than `max_cut`.

    Args:
        rows: Images with known sizes, which intake reads from their headers; others do not count.
        max_cut: Fraction of an image, in (0, 1).
    """
    sides = [(row.width, row.height) for row in rows if row.width and row.height]
    return float(np.mean([1 - min(s) / max(s) > max_cut for s in sides])) if sides else 0.0


def describe_variants(results: Sequence[CandidateResult]) -> list[str]:
    """Return a sentence for each variant: its best cross-validated accuracy and the plain one's."""
    best: dict[str, float] = {}
    for result in results:
        if result.scores is not None:
            value = result.scores.accuracy.value
            best[result.encoder] = max(best.get(result.encoder, 0.0), value)
    return [
        f"{name}, {_explain(variant)}, reaches a cross-validated accuracy of {value:.3f}; "
        f"{plain} alone reaches {best[plain]:.3f}"
        for name, value in best.items()
        for plain, variant in [split_variant(name)]
        if str(variant) and plain in best
    ]


def _has_variants(encoder: Embeds) -> bool:
    return is_pretrained(encoder.name) and not isinstance(encoder, ScoresClasses)


def _is_plain_network(encoder: Embeds) -> TypeGuard[Resizes]:
    """Return whether an encoder is pretrained, takes several ways to resize, and names none."""
    is_plain = _has_variants(encoder) and not str(split_variant(encoder.name)[1])
    return is_plain and isinstance(encoder, Resizes)


def _crops_by_default(encoder: Embeds) -> TypeGuard[Resizes]:
    return _is_plain_network(encoder) and encoder.resize == "crop"


def _explain(variant: Variant) -> str:
    views = f"the mean over {variant.views} views" if variant.views > 1 else ""
    return " of ".join(filter(None, (views, WORDS.get(variant.resize or ""))))


WORDS = {
    "crop": "the centre of the image",
    "squash": "the whole image, squashed",
    "letterbox": "the whole image between bars",
}


def _list_names(encoders: Sequence[Embeds]) -> str:
    names = " and ".join(encoder.name for encoder in encoders)
    return f"{names} {'is' if len(encoders) == 1 else 'are'}"
