"""What `ilk detect fit` does: load features, choose a detector, fit it to all images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from ilk.artifacts.detector import AnomalyDetector, check_enough_images
from ilk.artifacts.scratch_features import open_scratch_store
from ilk.core.capabilities import Embeds
from ilk.core.data import UNLABELLED, Data, Features
from ilk.core.errors import InputError, UnknownName
from ilk.core.progress import Progress, silent_progress
from ilk.detectors import list_detectors, parse_detector
from ilk.encode import encode_images
from ilk.encoders.patches import PatchEncoder, open_patches
from ilk.encoders.variants import apply_resize, split_variant
from ilk.fitting.detector_choice import Candidate, choose_detector, list_candidates
from ilk.fitting.leakage import check_unseen
from ilk.images import Images, number_row_groups
from ilk.maths.alarm_threshold import check_false_alarm_rate
from ilk.store import Store

AUTO = "auto"
MAX_PATCH_IMAGES = 500  # whose patches are compared: 170 MB while fitting

LogCallback = Callable[[str], None]


@dataclass
class FeatureLoader:
    """Features of normal images, encoded when they are first asked for.

    Attributes:
        images: The images; those of the plain encoder are in `store`.
        store: The user's store.
        scratch: Store for patches.
        progress: Receives the progress of encoding.
    """

    images: Images
    store: Store
    scratch: Store
    progress: Progress
    _loaded: dict[str, Features] = field(default_factory=dict)

    def load(self, reader: Embeds) -> Features:
        """Return the features `[n, d]` of the used images."""
        if reader.space.key not in self._loaded:
            home = self.scratch if isinstance(reader, PatchEncoder) else self.store
            encode_images(self.images, [reader], home, progress=self.progress)
            digests = [row.digest for row in self.images.used]
            self._loaded[reader.space.key] = home.get(reader.space, digests)
        return self._loaded[reader.space.key]


def show_whole_image(encoder: Embeds, resize: str, log: LogCallback) -> Embeds:
    """Return an encoder that sees all of an image: with `auto`, squashed to the input size.

    There are no labels to compare ways to resize by, and a defect may lie at the border. Other
    values of `resize`, and one in the name of the encoder, hold.
    """
    if split_variant(encoder.name)[1].resize is not None:
        return encoder
    changed = apply_resize(encoder, cast("Any", "squash" if resize == AUTO else resize))
    if changed is None and resize != AUTO:
        log(f"--resize does not change {encoder.name}: it reads images in a fixed way")
    return changed or encoder


def fit_detector(
    images: Images,
    encoder: Embeds,
    store: Store,
    *,
    method: str = AUTO,
    false_alarm: float = 0.01,
    progress: Progress = silent_progress,
    log: LogCallback = lambda _line: None,
) -> AnomalyDetector:
    """Fit a detector to images that are already encoded, all of which count as normal.

    Args:
        images: The images; see `ilk.encode.encode_images`.
        encoder: The encoder; it sees what `show_whole_image` made of it.
        store: Store with its features.
        method: A detector as a call, such as `PatchMemory(fraction=0.2)`; `auto` chooses one by
            synthetic anomalies (`ilk.fitting.detector_choice`).
        false_alarm: Probability that a normal image is flagged, in (0, 1).
        progress: Receives the progress of encoding.
        log: Receives what was chosen, and why.

    Raises:
        NoImages: If there is no image.
        InputError: If there are fewer than three, the method is unknown or the encoder has no
            patches for it, or `false_alarm` is not between 0 and 1.
    """
    check_enough_images(images)
    check_false_alarm_rate(false_alarm)
    check_method(method)
    check_unseen([encoder], images.used, "new normal images would be flagged too often")
    candidates = list_candidates(encoder, log) if method == AUTO else [_open(method, encoder)]
    used = images
    if any(isinstance(c.reader, PatchEncoder) for c in candidates):
        used = draw_images(images, MAX_PATCH_IMAGES)
    groups = number_row_groups(used.used)
    with open_scratch_store() as scratch:
        loader = FeatureLoader(used, store, scratch, progress)
        best, areas = choose_detector(candidates, used, loader.load, groups, progress, scratch)
        is_patch = isinstance(best.reader, PatchEncoder)
        if is_patch and len(used.used) < len(images.used):
            log(f"patches are those of {MAX_PATCH_IMAGES} of the {len(images.used):,} images")
        if not is_patch and used is not images:
            loader, groups = (
                FeatureLoader(images, store, scratch, progress),
                number_row_groups(images.used),
            )
        x = loader.load(best.reader)
    if areas:
        log(describe_choice(best.name, areas))
    model = best.method.fit(Data(x, np.full(len(x), UNLABELLED), (), group=groups))
    return AnomalyDetector(
        encoder,
        model,
        false_alarm,
        images.folders,
        dict(images.value_ranges),
        best.reader if isinstance(best.reader, PatchEncoder) else None,
        best.name,
        areas,
    )


def check_method(method: str) -> None:
    """Raise UnknownName or InputError if `method` is neither `auto` nor a detector as a call."""
    if method == AUTO:
        return
    try:
        parse_detector(method)
    except UnknownName:
        raise UnknownName("detector", method, (AUTO, *list_detectors())) from None


def describe_choice(name: str, areas: dict[str, dict[str, float]]) -> str:
    """Return a sentence that says which detector was chosen, and what the others reach."""
    means = {n: float(np.mean(list(by_kind.values()))) for n, by_kind in areas.items()}
    others = ", ".join(f"{n} {mean:.3f}" for n, mean in means.items() if n != name)
    return (
        f"{name} separates synthetic anomalies made from your images best from the images "
        "themselves: a mean AUROC "
        f"of {means[name]:.3f} over {len(areas[name])} kinds ({others}); no real anomaly was seen, "
        "and where whole images are anomalous, not parts, --method NearestNeighbour may find more"
    )


def _open(method: str, encoder: Embeds) -> Candidate:
    """Return the detector that the user named, on the grid of the encoder's patches."""
    named = parse_detector(method)
    if not named.reads_patches:
        return Candidate(named, encoder)
    patches = open_patches(encoder)
    if patches is None:
        raise InputError(
            f"{type(named).__name__} compares patches, and {encoder.name} has none to offer; use "
            "--encoder efficientnet-lite0 or a network of timm, or another --method"
        )
    return Candidate(replace(named, height=patches.grid[0], width=patches.grid[1]), patches)


def draw_images(images: Images, limit: int, seed: int = 0) -> Images:
    """Return at most `limit` used images, drawn at random."""
    if len(images.used) <= limit:
        return images
    kept = np.sort(np.random.default_rng(seed).permutation(len(images.used))[:limit])
    return replace(images, rows=tuple(images.used[i] for i in kept))
