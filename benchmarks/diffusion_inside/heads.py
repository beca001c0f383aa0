"""Test accuracy of heads on feature maps at the chosen point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from benchmarks.diffusion_setup import (
    accuracy,
)
from ilk.diffusion.features.extract import extract_feature_maps
from ilk.diffusion.features.feature_point import FeaturePoint
from ilk.diffusion.features.hooks import Hooks
from ilk.diffusion.heads.attention import AttentionHead
from ilk.diffusion.heads.cnn import CNNHead
from ilk.diffusion.heads.difffeed import DifFeed
from ilk.diffusion.heads.difformer import DifFormer
from ilk.diffusion.heads.experts import MixtureOfExperts
from ilk.diffusion.heads.fit import fit, fit_head, predict_logits
from ilk.diffusion.heads.head import Head
from ilk.diffusion.heads.linear import LinearHead
from ilk.diffusion.heads.mlp import MLPHead
from ilk.diffusion.heads.satdiffuser import GlobalWeightedFusion, LocalWeightedFusion
from ilk.training.trainer import Batch, Recipe

POOL_SIZES = (2, 4)


def evaluate_heads(
    hooks: Hooks, points: Sequence[FeaturePoint], train: Batch, test: Batch, recipe: Recipe
) -> list[dict[str, Any]]:
    """Return the test accuracy of each head: on one map by pooling, then on maps of two blocks."""
    best, k = points[0], len(hooks.network.classes)
    rows: list[dict[str, Any]] = []

    def add_head(
        name: str, pool: int | str, build: Callable[[], Head], at: Sequence[FeaturePoint]
    ) -> None:
        maps, maps_test = (extract_feature_maps(hooks, part.x, at) for part in (train, test))
        head = fit_head(build, maps, train.y, recipe)
        rows.append(
            {"head": name, "pool": pool, "accuracy": _head_accuracy(head, maps_test, test.y)}
        )

    hook = hooks.get_block(best.block)
    for pool in (p for p in POOL_SIZES if p <= hook.side):
        shape, at = (hook.channels, pool, pool), [FeaturePoint(best.block, best.sigma, pool)]
        add_head("linear", pool, partial(LinearHead, shape, k, pool), at)
        add_head("MLP", pool, partial(MLPHead, shape, k, pool), at)
        add_head("attention", pool, partial(AttentionHead, shape, k, 64), at)
        add_head("CNN", pool, partial(CNNHead, shape, k, 64), at)
    sigmas = (best.sigma, 2 * best.sigma)
    pairs = [
        FeaturePoint(p.block, s, min(4, hooks.get_block(p.block).side))
        for s in sigmas
        for p in points
    ]
    shapes = [(hooks.get_block(p.block).channels, p.pool, p.pool) for p in pairs[: len(points)]]
    alone = partial(GlobalWeightedFusion, shapes[:1], 1, k)
    add_head("best place, same bottleneck", "fusion", alone, pairs[:1])
    add_head("DifFormer", "fusion", lambda: DifFormer(shapes, 2, k, 64), pairs)
    add_head("global weights", "fusion", lambda: GlobalWeightedFusion(shapes, 2, k), pairs)
    add_head("local weights", "fusion", lambda: LocalWeightedFusion(shapes, 2, k), pairs)
    add_head("experts", "fusion", lambda: MixtureOfExperts(shapes, 2, k), pairs)
    return [*rows, _evaluate_feedback(hooks, best, train, test, recipe)]


def _evaluate_feedback(
    hooks: Hooks, best: FeaturePoint, train: Batch, test: Batch, recipe: Recipe
) -> dict[str, Any]:
    """Evaluate DifFeed with a third of the updates: each costs two passes of the network."""
    short_recipe = Recipe(max(1, recipe.steps // 3), 64, recipe.lr, seed=recipe.seed)
    point = FeaturePoint(best.block, best.sigma, max(1, min(4, hooks.get_block(best.block).side)))
    head = fit(
        lambda: DifFeed(hooks, point, len(hooks.network.classes), width=64),
        train.x,
        train.y,
        short_recipe,
    )
    return {"head": "DifFeed", "pool": "feedback", "accuracy": _head_accuracy(head, test.x, test.y)}


def _head_accuracy(head: Head, x: Tensor | list[Tensor], y: Tensor) -> float:
    return accuracy(predict_logits(head, x), y)
