"""Where in a diffusion network its features tell classes apart: block x noise level x pooling.

As in arXiv 2307.08702 (ablations over block and step), on the user's own labelled images and by
cross-validation alone, so that no test image has a say. All blocks and poolings of a level come
from one pass of the network, pooled as it runs.

Every place is judged by one probe, the same for all (features standardised, ridge regression of
class membership): with the blocks' scales left in, the probe would rank scales, not blocks. Its
penalty has the least leave-one-out error, and its held-out predictions are exact and need no refit:
with H the ridge's hat matrix (mean included) and F the rows of a fold,

    y_F - f_without_F(x_F) = (I - H_FF)^-1 (y_F - f(x_F))

(David M. Allen, 1974, doi:10.1080/00401706.1974.10489157, for one row; for several by the same
Woodbury identity). One eigendecomposition serves penalties and folds.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ilk.data import Labels
from ilk.diffusion.contract import Denoises
from ilk.diffusion.features import passes, pooled
from ilk.diffusion.found import Found, Place
from ilk.diffusion.probe import Judged, judge
from ilk.diffusion.reading import PLAIN, Point, Reading
from ilk.diffusion.taps import Taps
from ilk.errors import InputError
from ilk.maths import folds
from ilk.progress import Progress, silent

LEVELS, LOW, HIGH = 6, 0.1, 3.0  # levels, from and to these shares of a spread of one half
SPREAD = 0.5


@dataclass(frozen=True)
class Settings:
    """What to try.

    Attributes:
        sigmas: Noise levels; empty takes 6, evenly spaced in ln sigma over what has an image left.
        pools: Sides of the pooled map (0: mean and deviation); those too fine for a block are
            left out for it.
        folds: Of the cross-validation.
        rows: Images used at most, drawn class by class.
        widest: Numbers a row at most; wider places are left out.
        reading: How features are read; its seed also draws the folds.
    """

    sigmas: tuple[float, ...] = ()
    pools: tuple[int, ...] = (0, 1, 2, 4)
    folds: int = 5
    rows: int = 2000
    widest: int = 16384
    reading: Reading = PLAIN

    def __post_init__(self) -> None:
        if self.folds < 2 or self.rows < 4 or not self.pools or min(self.pools) < 0:
            raise InputError(
                f"{self.folds} folds of {self.rows} images at pools {self.pools} compare nothing; "
                "take 2 folds or more, 4 images or more, and a pool"
            )

    def levels(self, network: Denoises) -> tuple[float, ...]:
        """The noise levels that are tried on `network`.

        Raises:
            InputError: One is outside of what it was trained on.
        """
        low, high = network.sigmas
        spread = float(getattr(network, "spread", SPREAD))
        ends = max(low, LOW * spread), min(high, HIGH * spread)
        even = [float(f"{sigma:.2g}") for sigma in np.geomspace(*ends, LEVELS)]
        asked = self.sigmas or tuple(dict.fromkeys(s for s in even if low <= s <= high))
        if odd := [sigma for sigma in asked if not low <= sigma <= high]:
            raise InputError(
                f"sigma {odd[0]:g} is outside of what this network was trained on, "
                f"{low:.4g} to {high:.4g}"
            )
        return asked


def search(
    network: Denoises,
    x: Tensor,
    y: Labels,
    settings: Settings = Settings(),
    progress: Progress = silent,
) -> Found:
    """Try every block, noise level and pooling on labelled images.

    Args:
        network: Whose features to read.
        x: Images `[n, c, h, w]`, 8-bit or in [-1, 1].
        y: Class indices `[n]`; -1 (unknown) is left out.
        settings: What to try.
        progress: Told of images times passes.

    Raises:
        InputError: Fewer than two classes have images, images or labels do not fit, or no block
            is left to try.
    """
    y = np.asarray(y, np.int64)
    if len(y) != len(x):
        raise InputError(f"{len(y)} labels for {len(x)} images; give one each, -1 where unknown")
    kept = spread_out(y, settings.rows, settings.reading.seed)
    _, y = np.unique(y[kept], return_inverse=True)
    parts = folds.stratified(y, settings.folds, settings.reading.seed)
    x, sigmas = x[torch.from_numpy(kept)], settings.levels(network)
    judged: dict[Point, Judged] = {}
    with closing(Taps(network)) as taps, progress("searching", len(x) * len(sigmas)) as advance:
        for sigma in sigmas:
            for point, rows in level(taps, x, sigma, settings).items():
                judged[point] = judge(rows, y, parts)
            advance(len(x))
    if not judged:
        raise InputError(
            f"no place is left to try: pools {settings.pools} are too fine for every block, or "
            f"give more than {settings.widest} numbers"
        )
    return ranked(judged, len(x))


def spread_out(y: Labels, most: int, seed: int) -> Labels:
    """Positions of at most `most` labelled images, as many of each class as can be, in order.

    Raises:
        InputError: Fewer than two classes have an image.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(np.flatnonzero(y >= 0))
    classes, counts = np.unique(y[order], return_counts=True)
    if len(classes) < 2 or counts.max() < 2:
        raise InputError(
            f"{len(order)} labelled images of {len(classes)} classes compare nothing: label "
            "images of two classes at least, and two images of one"
        )
    nth = np.empty(len(order), np.int64)
    for c in classes:
        nth[y[order] == c] = np.arange(np.sum(y[order] == c))
    return np.sort(order[np.argsort(nth, kind="stable")[:most]])


def level(taps: Taps, x: Tensor, sigma: float, settings: Settings) -> dict[Point, Tensor]:
    """Features `[n, d]` of every block and pooling at one noise level, from one pass a draw."""
    points = [
        point
        for tap in taps.blocks
        for pool in settings.pools
        if pool <= tap.side
        and (point := Point(tap.index, sigma, pool)).width(tap) <= settings.widest
    ]
    out = {p: torch.zeros(len(x), p.width(taps.blocks[p.block - 1])) for p in points}
    for rows, seen in passes(taps, x, sigma, (), settings.reading):
        for point, features in out.items():
            part = pooled(seen[point.block], point.pool).cpu()
            features[rows] += part / settings.reading.draws
    return out


def ranked(judged: dict[Point, Judged], images: int) -> Found:
    """The table, the best place, and the narrowest that is as good within one standard error."""
    best = min(judged, key=lambda p: (-judged[p].right.mean(), judged[p].log_loss))
    places = []
    for point, one in judged.items():
        lost = judged[best].right.astype(float) - one.right
        error = float(np.sum(lost**2) ** 0.5 / images)  # were both equally good (McNemar)
        told = float(one.right.mean()), one.log_loss, float(lost.mean()), error
        places.append(Place(point, one.width, *told))
    near = [place for place in places if place.behind <= place.error + 1e-12]
    chosen = min(near, key=lambda p: (p.width, -p.accuracy, p.log_loss)).point
    return Found(tuple(places), best, chosen, images)
