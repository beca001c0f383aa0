"""Features of a network that was trained without labels, beside those of simpler controls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.diffusion_inside.autoencoder import load_autoencoder
from benchmarks.diffusion_setup import (
    ImageDataset,
    accuracy,
    draw_balanced,
    load_or_compute,
    load_pretrained,
    make_untrained,
)
from benchmarks.runner import summarize
from ilk.diffusion.denoiser.protocol import Denoises
from ilk.diffusion.features.extract import extract_feature_maps, extract_features
from ilk.diffusion.features.feature_point import FeatureConfig, FeaturePoint
from ilk.diffusion.features.hooks import Hooks
from ilk.diffusion.features.probe import evaluate_probe
from ilk.diffusion.features.search import SearchConfig, search
from ilk.diffusion.features.search_result import SearchResult
from ilk.diffusion.heads.experts import MixtureOfExperts
from ilk.diffusion.heads.fit import fit_head, predict_logits
from ilk.diffusion.heads.head import Head
from ilk.diffusion.heads.satdiffuser import GlobalWeightedFusion, LocalWeightedFusion
from ilk.diffusion.pretraining.pretrain import PretrainConfig
from ilk.maths.folds import assign_folds
from ilk.maths.pca import fit_pca
from ilk.training.trainer import Batch, Recipe

PCA_SIZES = (16, 32, 64, 128, 256)
PENALTIES = np.logspace(-1, 5, 13)
FAST = FeatureConfig(batch=256, precision="bfloat16")
N_BLOCKS, N_SIGMAS = 2, 3  # of the fusions
POOL = 4  # of the maps of the fusions

Matrix = NDArray[np.float64]
Record = dict[str, Any]


def evaluate_features(
    dataset: ImageDataset,
    config: PretrainConfig,
    name: str,
    seeds: Sequence[int],
    sizes: tuple[int, int, int],
    steps: int = 150,
) -> Record:
    """Return accuracies of features of the network called `name`, and of the controls.

    Args:
        dataset: Images; labels are hidden from the networks.
        config: How the network was trained.
        name: Name of the network.
        seeds: Seeds of the labelled and the test images.
        sizes: Images of the search, labelled images, test images.
        steps: Updates of the fusions.
    """
    hidden = Batch(dataset.train.x, torch.full_like(dataset.train.y, -1))
    unlabelled = replace(dataset, classes=(), train=hidden)
    network = load_pretrained(unlabelled, config, name)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    networks: dict[str, Denoises] = {
        "diffusion, no labels": network,
        "random weights": make_untrained(unlabelled, config),
        "autoencoder": load_autoencoder(network, hidden, config, f"{name}-autoencoder"),
    }
    part = draw_balanced(dataset.train, sizes[0], 0)
    searches = {
        label: load_or_compute(f"inside-{name}-{i}-search", partial(_search, each, part))
        for i, (label, each) in enumerate(networks.items())
    }
    rows = [
        load_or_compute(
            f"inside-{name}-{seed}-features",
            partial(_evaluate_seed, networks, searches, dataset, seed, sizes, steps),
        )
        for seed in seeds
    ]
    first = searches["diffusion, no labels"]
    return {
        "accuracy": {
            kind: {k: summarize([r[kind][k] for r in rows]) for k in rows[0][kind]}
            for kind in ("ridge probe", "same bottleneck")
        },
        "places": {label: found["best"] for label, found in searches.items()},
        "map": {k: first[k] for k in ("blocks", "sigmas", "heat")},
        "updates": config.recipe.steps,
        "images": {"search": sizes[0], "labelled": sizes[1], "test": sizes[2]},
    }


def _search(network: Denoises, part: Batch) -> Record:
    config = SearchConfig(max_images=len(part), feature_config=FAST)
    found: SearchResult = search(network, part.x, part.y.numpy(), config)
    blocks, sigmas, heat = found.compute_accuracy_grid()
    maps = [p for p in found.locations if p.point.pool]
    ranked = sorted(maps, key=lambda p: (-p.accuracy, p.log_loss))
    by_block = dict.fromkeys(p.point.block for p in ranked)
    return {
        "best": str(found.best_point),
        "best map": str(ranked[0].point),
        "best blocks": list(by_block)[:N_BLOCKS],
        "blocks": blocks,
        "sigmas": sigmas,
        "heat": heat,
    }


def _evaluate_seed(
    networks: dict[str, Denoises],
    searches: dict[str, Record],
    dataset: ImageDataset,
    seed: int,
    sizes: tuple[int, int, int],
    steps: int,
) -> Record:
    train = draw_balanced(dataset.train, sizes[1], seed)
    test = draw_balanced(dataset.test, sizes[2], seed)
    flat, flat_test = (b.x.flatten(1).double().numpy() / 255 for b in (train, test))
    probe = {"pixels": score_ridge(flat, train.y, flat_test, test.y)}
    probe["PCA of pixels"] = _score_pca(flat, train.y, flat_test, test.y)
    heads: dict[str, float] = {}
    for label, network in networks.items():
        hooks, found = Hooks(network), searches[label]
        try:
            point = FeaturePoint.parse(found["best"])
            x, x_test = (
                extract_features(hooks, b.x, [point], FAST).double().numpy() for b in (train, test)
            )
            probe[label] = score_ridge(x, train.y, x_test, test.y)
            heads |= _fit_fusions(
                hooks, label, found, train, test, Recipe(steps, 64, 2e-3, seed=seed)
            )
        finally:
            hooks.close()
    return {"ridge probe": probe, "same bottleneck": heads}


def score_ridge(x: Matrix, y: Tensor, x_test: Matrix, y_test: Tensor) -> float:
    """Return the test accuracy of ridge regression of class membership, standardised features.

    The penalty minimises the leave-one-out error.
    """
    from sklearn.linear_model import RidgeClassifierCV

    mean, std = x.mean(0), x.std(0) + 1e-6
    model = RidgeClassifierCV(PENALTIES).fit((x - mean) / std, y.numpy())
    return float(model.score((x_test - mean) / std, y_test.numpy()))


def _score_pca(x: Matrix, y: Tensor, x_test: Matrix, y_test: Tensor) -> float:
    """Return the test accuracy on principal components, their number chosen by cross-validation."""
    axes, fold_ids = fit_pca(x), assign_folds(y.numpy(), 5)
    sizes = [s for s in PCA_SIZES if s <= axes.scores.shape[1]]
    right = [evaluate_probe(axes.scores[:, :s], y.numpy(), fold_ids).is_correct for s in sizes]
    best = sizes[int(np.argmax([r.mean() for r in right]))]
    rows = (x_test - axes.centre) @ axes.basis[:, :best]
    return score_ridge(axes.scores[:, :best], y, rows, y_test)


def _fit_fusions(
    hooks: Hooks, label: str, found: Record, train: Batch, test: Batch, recipe: Recipe
) -> dict[str, float]:
    """Return the accuracy of a bottleneck at the best place and, for diffusion, of the fusions."""
    best = FeaturePoint.parse(found["best map"])
    single = [_at(hooks, best.block, best.sigma)]
    out = {
        f"{label}, best place": _score_head(
            hooks, single, 1, GlobalWeightedFusion, train, test, recipe
        )
    }
    if not label.startswith("diffusion"):
        return out
    at = found["sigmas"].index(best.sigma)
    first = max(0, min(at - 1, len(found["sigmas"]) - N_SIGMAS))
    sigmas = found["sigmas"][first : first + N_SIGMAS]
    points = [_at(hooks, b, s) for s in sigmas for b in found["best blocks"]]
    kinds: dict[str, Callable[..., Head]] = {
        "global weights": GlobalWeightedFusion,
        "local weights": LocalWeightedFusion,
        "experts": MixtureOfExperts,
    }
    for name, kind in kinds.items():
        score = _score_head(hooks, points, len(sigmas), kind, train, test, recipe)
        out[f"{label}, {name} over {len(points)} places"] = score
    return out


def _at(hooks: Hooks, block: int, sigma: float) -> FeaturePoint:
    return FeaturePoint(block, sigma, max(1, min(POOL, hooks.get_block(block).side)))


def _score_head(
    hooks: Hooks,
    points: list[FeaturePoint],
    levels: int,
    kind: Callable[..., Head],
    train: Batch,
    test: Batch,
    recipe: Recipe,
) -> float:
    maps, maps_test = (extract_feature_maps(hooks, b.x, points, FAST) for b in (train, test))
    shapes = [tuple(m.shape[1:]) for m in maps[: len(points) // levels]]
    head = fit_head(lambda: kind(shapes, levels, 10), maps, train.y, recipe)
    return accuracy(predict_logits(head, maps_test), test.y)
