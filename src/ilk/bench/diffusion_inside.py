"""Inside a diffusion model: which noise levels tell, does shared noise matter, which block to read?

Digits (70/30, seeds 0 to 2) and Fashion-MNIST (one network, one seed, 200 test images, heads on
2,000 training images: a first look; left out where its files are not at hand, as in the figures
below if they name digits alone). Accuracy of the diffusion classifier on test images by number of
levels, with noise shared by all classes and with noise of each class's own; accuracy of one level
by itself; a map of blocks by noise levels from cross-validation on the training part (the better of
the poolings); and heads on the place that map chose, by pooling, all with the same recipe. Nothing
is chosen on test images. Finished parts are kept and not measured again, so the seconds in all are
those of the last command.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ilk.bench import spread
from ilk.bench._diffusion import (
    Pictures,
    accuracy,
    clean,
    digits,
    digits_plan,
    fashion,
    fashion_plan,
    first,
    kept,
    pretrained,
)
from ilk.diffusion.classify import Measure, errors, scores
from ilk.diffusion.denoiser import Denoiser
from ilk.diffusion.features import spread as noise_share
from ilk.diffusion.features import streams
from ilk.diffusion.heads.attention import AttentionHead
from ilk.diffusion.heads.cnn import CNNHead
from ilk.diffusion.heads.difffeed import DifFeed
from ilk.diffusion.heads.difformer import DifFormer
from ilk.diffusion.heads.experts import MixtureOfExperts
from ilk.diffusion.heads.fit import fit, fit_head, logits
from ilk.diffusion.heads.head import Head
from ilk.diffusion.heads.linear import LinearHead
from ilk.diffusion.heads.mlp import MLPHead
from ilk.diffusion.heads.satdiffuser import GlobalWeighted, LocalWeighted
from ilk.diffusion.levels import Levels
from ilk.diffusion.pretrain import Plan
from ilk.diffusion.reading import Point
from ilk.diffusion.search import Settings, search
from ilk.diffusion.taps import Taps
from ilk.errors import Unavailable
from ilk.training.loop import Batch, Recipe

SEEDS = (0, 1, 2)
COUNTS = (1, 2, 4, 8, 16, 32)
POOLS = (1, 2, 4)
MEASURE = Measure(batch=512, precision="bfloat16")


@dataclass(frozen=True)
class Size:
    """How much is done.

    Attributes:
        test: Test images that classifiers are judged on; 0 for all.
        learn: Training images that heads learn from; 0 for all.
        steps: Updates of a head.
        levels: Noise levels that are tried one by one.
        rows: Training images that the map of blocks comes from.
    """

    test: int = 0
    learn: int = 0
    steps: int = 300
    levels: int = 16
    rows: int = 2_000


def run(small: bool = False) -> dict[str, Any]:
    """Both data sets; Fashion-MNIST is left out where its files are not."""
    if small:
        size = Size(10, 60, 3, 3, 60)
        return _told("digits", [_one(digits(0), digits_plan(0, 10), "digits-0-10", 0, size)])
    found = _told(
        "digits", [_one(digits(s), digits_plan(s), f"digits-{s}-300", s, Size(300)) for s in SEEDS]
    )
    try:
        pictures = fashion()
    except Unavailable:
        return found
    seed = _one(pictures, fashion_plan(0), "fashion-0", 0, Size(200, 2_000, 200))
    more = _told("fashion", [seed])
    return {**found, **more, "plots": [*found["plots"], *more["plots"]]}


def _one(pictures: Pictures, plan: Plan, name: str, seed: int, size: Size) -> Any:
    return kept(f"inside-{name}-{seed}", lambda: _seen(pictures, plan, name, seed, size))


def _seen(pictures: Pictures, plan: Plan, name: str, seed: int, size: Size) -> dict[str, Any]:
    network = pretrained(pictures, plan, name)
    test = first(pictures.test, size.test) if size.test else pictures.test
    learn = first(pictures.train, size.learn) if size.learn else pictures.train
    found = search(network, learn.x, learn.y.numpy(), Settings(rows=min(size.rows, len(learn))))
    blocks, sigmas, heat = found.heat()
    taps = Taps(network)
    try:
        share = noise_share(taps, learn.x[:200], [found.best], draws=4)
        heads = _heads(taps, found.top(2), learn, test, Recipe(size.steps, 128, 2e-3, seed=seed))
    finally:
        taps.close()
    return {
        "shared": _shared(network, test, seed, 1),
        "own": _shared(network, test, seed, len(network.classes)),
        "levels": _single(network, test, seed, size.levels),
        "blocks": blocks,
        "sigmas": sigmas,
        "heat": heat,
        "best": str(found.best),
        "share of features that is noise": share,
        "heads": heads,
    }


def _shared(network: Denoiser, test: Batch, seed: int, classes: int) -> list[float]:
    """Accuracy by number of levels, with one noise a level or one a level and class."""
    levels = Levels.even(network, max(COUNTS))
    generator = torch.Generator().manual_seed(seed)
    shape = (len(test), classes, len(levels), *network.shape)
    noise = torch.randn(shape, generator=generator)
    noise = noise.expand(len(test), len(network.classes), *shape[2:])
    found = errors(network, clean(test), torch.tensor(levels.sigmas), noise, MEASURE)
    weights = torch.tensor(levels.weights)
    return [accuracy(scores(found[:, :, :n], weights[:n]), test.y) for n in COUNTS]


def _single(network: Denoiser, test: Batch, seed: int, count: int) -> list[list[float]]:
    """Accuracy of one level by itself, mean over 2 noises: pairs of sigma and accuracy."""
    levels = Levels.even(network, count, 0.05, 20.0).rising()
    sigmas = torch.tensor(levels.sigmas)
    right = []
    for draw in range(2):
        noise = levels.noise(network, 10 * seed + draw)
        found = errors(network, clean(test), sigmas, noise, MEASURE)
        right.append((found.argmin(1) == test.y[:, None]).double().mean(0))
    return [[float(s), float(a)] for s, a in zip(sigmas, torch.stack(right).mean(0), strict=True)]


def _heads(
    taps: Taps, points: Sequence[Point], learn: Batch, test: Batch, recipe: Recipe
) -> list[dict[str, Any]]:
    """Test accuracy of each head: on one map by pooling, then on maps of two blocks."""
    best, k = points[0], len(taps.network.classes)
    rows: list[dict[str, Any]] = []

    def told(name: str, pool: int | str, build: Callable[[], Head], at: Sequence[Point]) -> None:
        maps, maps_test = (streams(taps, part.x, at) for part in (learn, test))
        head = fit_head(build, maps, learn.y, recipe)
        rows.append({"head": name, "pool": pool, "accuracy": _right(head, maps_test, test.y)})

    tap = taps.check(best.block)
    for pool in (p for p in POOLS if p <= tap.side):
        shape, at = (tap.channels, pool, pool), [Point(best.block, best.sigma, pool)]
        told("linear", pool, partial(LinearHead, shape, k, pool), at)
        told("MLP", pool, partial(MLPHead, shape, k, pool), at)
        told("attention", pool, partial(AttentionHead, shape, k, 64), at)
        told("CNN", pool, partial(CNNHead, shape, k, 64), at)
    sigmas = (best.sigma, 2 * best.sigma)
    pairs = [Point(p.block, s, min(4, taps.check(p.block).side)) for s in sigmas for p in points]
    shapes = [(taps.check(p.block).channels, p.pool, p.pool) for p in pairs[: len(points)]]
    told("DifFormer", "fusion", lambda: DifFormer(shapes, 2, k, 64), pairs)
    told("global weights", "fusion", lambda: GlobalWeighted(shapes, 2, k), pairs)
    told("local weights", "fusion", lambda: LocalWeighted(shapes, 2, k), pairs)
    told("experts", "fusion", lambda: MixtureOfExperts(shapes, 2, k), pairs)
    return [*rows, _feedback(taps, best, learn, test, recipe)]


def _feedback(taps: Taps, best: Point, learn: Batch, test: Batch, recipe: Recipe) -> dict[str, Any]:
    """DifFeed, with a third of the updates of the others: each costs two passes of the network."""
    short = Recipe(max(1, recipe.steps // 3), 64, recipe.lr, seed=recipe.seed)
    point = Point(best.block, best.sigma, max(1, min(4, taps.check(best.block).side)))
    head = fit(
        lambda: DifFeed(taps, point, len(taps.network.classes), width=64), learn.x, learn.y, short
    )
    return {"head": "DifFeed", "pool": "feedback", "accuracy": _right(head, test.x, test.y)}


def _right(head: Head, x: Tensor | list[Tensor], y: Tensor) -> float:
    return accuracy(logits(head, x), y)


def _told(name: str, seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds, and the plots."""
    heads = [
        {
            "head": row["head"],
            "pool": row["pool"],
            "accuracy": spread([seed["heads"][i]["accuracy"] for seed in seeds]),
        }
        for i, row in enumerate(seeds[0]["heads"])
    ]
    noise = [
        {
            "levels": count,
            "shared noise": spread([s["shared"][i] for s in seeds]),
            "noise of each class's own": spread([s["own"][i] for s in seeds]),
        }
        for i, count in enumerate(COUNTS)
    ]
    levels = np.mean([seed["levels"] for seed in seeds], axis=0).tolist()
    heat = np.mean([seed["heat"] for seed in seeds], axis=0)
    block, at = np.unravel_index(np.nanargmax(heat), heat.shape)
    told = {
        "noise": noise,
        "levels": [{"sigma": s, "accuracy": a} for s, a in levels],
        "heads": heads,
        "best place of the mean map": {
            "block": seeds[0]["blocks"][block],
            "of blocks": len(seeds[0]["blocks"]),
            "sigma": seeds[0]["sigmas"][at],
            "of sigmas": seeds[0]["sigmas"],
            "accuracy": float(heat[block, at]),
        },
        "places": [seed["best"] for seed in seeds],
        "share of features that is noise": spread(
            [seed["share of features that is noise"] for seed in seeds]
        ),
    }
    return {name: told, "plots": _plots(name, seeds, noise, levels, heat)}


def _plots(
    name: str,
    seeds: list[dict[str, Any]],
    noise: list[dict[str, Any]],
    levels: list[list[float]],
    heat: Any,
) -> list[dict[str, Any]]:
    shared: dict[str, list[list[float]]] = {}
    for row in noise:
        for key in ("shared noise", "noise of each class's own"):
            mean, half = row[key]["mean"], row[key]["half_width"] or 0.0
            shared.setdefault(key, []).append([row["levels"], mean, mean - half, mean + half])
    matrix = [[None if np.isnan(v) else float(v) for v in line] for line in heat]
    return [
        {
            "file": f"diffusion_inside-{name}-noise.svg",
            "kind": "lines",
            "title": f"{name}: the same noise for all classes, or each its own",
            "x": "noise levels",
            "y": "test accuracy, mean and 95 % interval",
            "series": shared,
            "log_x": True,
        },
        {
            "file": f"diffusion_inside-{name}-levels.svg",
            "kind": "lines",
            "title": f"{name}: one noise level by itself",
            "x": "sigma",
            "y": "test accuracy",
            "series": {"one level": levels},
            "log_x": True,
        },
        {
            "file": f"diffusion_inside-{name}-blocks.svg",
            "kind": "heat",
            "title": f"{name}: where features tell most",
            "x": "sigma",
            "y": "block",
            "matrix": matrix,
            "rows": [str(b) for b in seeds[0]["blocks"]],
            "columns": [f"{s:g}" for s in seeds[0]["sigmas"]],
            "label": "cross-validated accuracy",
            "best": "high",
        },
    ]
