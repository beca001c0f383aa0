"""Do causal effects of units say more about a network than gradients, and are they more stable?

Five networks (seeds 0 to 4) name the digit of textured 56 x 56 canvases with distractors; batch
norm is folded first. For each of three classes, path effects are measured on 50 canvases that the
network gets right, a unit or path kept at a false discovery rate of 5 % and if its share of all
effects (of its layer; of paths into the same unit) exceeds the 95 % quantile of the shares in a
network that was trained on shuffled labels.
On 50 other canvases, units of the layer before the last are set to their mean, 1 to 32 of 64 in
the order of a ranking, and the probability of the class is averaged: lower is better. Rankings: sum
of the effects of paths to kept units (the paper), the effect of the unit itself (one ablation per
unit, no paths), gradient x activation, first-order Taylor of the ablation, mean activation, random.
The same for the last layer, where a path is a unit. Stability: the Jaccard index of the kept units
of the last layer between two disjoint halves, five divisions, against as many units by each other
ranking. Maps: activations of the last layer weighted by kept effects, against Grad-CAM's weights of
all units; the share of the map inside the digit's mask over the mask's share of the area.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.canvas import Canvases, make_canvases
from benchmarks.canvas_networks import CanvasCNN, load_network, normalize, predict_proba
from benchmarks.claims import Claim, describe_claims, make_table
from benchmarks.shared_files import load_or_compute_arrays
from ilk.explain.causal_paths import (
    CausalGraph,
    Criteria,
    compute_path_shares,
    compute_shares,
    trace_causal_paths,
)
from ilk.explain.interventions import InterventionRunner, Layer
from ilk.explain.unit_effects import (
    Effects,
    Score,
    ablate_units,
    measure_path_effects,
    measure_unit_effects,
)
from ilk.explain.windows import resize_map
from ilk.training.trainer import Batch, Recipe, train

SEEDS, CLASSES, N_IMAGES = range(5), (2, 5, 8), 50
N_ABLATED = (1, 2, 4, 8, 16, 32)
N_DIVISIONS = 5
QUANTILE, N_NULL_UNITS = 0.95, 8
ENTRY, FILE = "causal-path-interpretability", "explain/causal_paths.py"
PATHS, NODES, RANDOM = "path effects", "unit ablation", "random"
GRADIENT, TAYLOR, MEAN = "gradient x activation", "Taylor", "mean activation"
CAM, WEIGHTS, ALL_UNITS = "Grad-CAM", "mean gradient", "all units, causal effects"


def run(small: bool = False) -> dict[str, Any]:
    """Return tables of ablation, stability and maps, and the verdict; `small` has one class."""
    seeds = range(2) if small else SEEDS
    classes = CLASSES[:1] if small else CLASSES
    results = [examine(seed, classes, small) for seed in seeds]
    tables = []
    for name, better in (
        ("units before the last layer, p of the class under ablation", "lower"),
        ("units of the last layer, p of the class under ablation", "lower"),
        ("stability, Jaccard index of kept units over halves", "higher"),
        ("maps, share in the digit over share of the area", "higher"),
    ):
        setting, metric = name.split(", ", 1)
        scores = {arm: [r[name][arm] for r in results] for arm in results[0][name]}
        claims = [Claim(ENTRY, FILE, PATHS, arm) for arm in scores if arm != PATHS]
        tables.append(make_table(setting, metric, scores, claims, better))  # type: ignore[arg-type]
    graphs = [r["graph"] for r in results]
    return {"tables": tables, "verdict": describe_claims(tables), "graphs": graphs}


def examine(seed: int, classes: tuple[int, ...], small: bool) -> dict[str, Any]:
    """Return all measures of one network, averaged over classes."""
    size = {"n": 64, "epochs": 1} if small else {}
    network = load_network("cnn", seed, **size)
    shuffled = load_shuffled_network(seed, 100 if small else 3000)
    n = 6 if small else N_IMAGES
    canvases = make_canvases(150 if small else 4000, seed + 50, "test")
    reference = normalize(make_canvases(n, seed + 90, "test").x)
    rows = [_examine_class(network, shuffled, canvases, reference, c, n, seed) for c in classes]
    out: dict[str, Any] = {
        name: {arm: float(np.mean([r[name][arm] for r in rows])) for arm in rows[0][name]}
        for name in rows[0]
        if name != "graph"
    }
    correct = predict_proba(network, canvases.x).argmax(1) == canvases.y
    out["graph"] = {"test accuracy of the network": float(correct.mean())} | {
        f"digit {c}": r["graph"] for c, r in zip(classes, rows, strict=True)
    }
    return out


def _examine_class(
    network: nn.Module,
    shuffled: nn.Module,
    canvases: Canvases,
    reference: Tensor,
    c: int,
    n: int,
    seed: int,
) -> dict[str, Any]:
    is_right = predict_proba(network, canvases.x).argmax(1) == canvases.y
    rows = np.flatnonzero(canvases.y == c)
    mine = canvases.take(rows[np.argsort(~is_right[rows], kind="stable")][: 2 * n])
    half = len(mine) // 2
    first, second = mine.take(slice(0, half)), mine.take(slice(half, 2 * half))
    x, other = normalize(first.x), normalize(second.x)
    score = make_score(c)
    criteria = measure_null(shuffled, x, reference, score)
    graph = trace_causal_paths(network, x, reference, score, criteria)
    means = InterventionRunner(network, reference)
    runner = InterventionRunner(network, other)
    rng = np.random.default_rng([seed, c])
    last = rank_units(network, x, means, -1, graph.unit_effects.mean(1), c, rng)
    last[PATHS] = last.pop(NODES)  # a path from the last layer is a unit
    inner = rank_units(network, x, means, -2, None, c, rng)
    gradient = last.pop(WEIGHTS)
    del inner[WEIGHTS]
    inner[PATHS] = graph.layers[0].edge_effects.sum(1) if graph.layers else np.zeros(64)
    return {
        "units before the last layer, p of the class under ablation": {
            arm: measure_ablation(runner, means, -2, order, c) for arm, order in inner.items()
        },
        "units of the last layer, p of the class under ablation": {
            arm: measure_ablation(runner, means, -1, order, c) for arm, order in last.items()
        },
        "stability, Jaccard index of kept units over halves": measure_stability(
            network, normalize(mine.x), reference, criteria, score, c, rng
        ),
        "maps, share in the digit over share of the area": measure_maps(
            runner.layers[-1], second, graph, gradient
        ),
        "graph": {
            "least share of a unit": criteria.min_share,
            "least share of a path": criteria.min_path_share,
            "units": len(graph.units),
            "paths": len(graph.layers[0].edges) if graph.layers else 0,
            "units before": len(graph.layers[0].inputs) if graph.layers else 0,
        },
    }


def make_score(c: int) -> Score:
    """Return the log-odds of class c of logits `[n, k]`."""
    from scipy.special import logsumexp

    def score(z: NDArray[np.float32]) -> NDArray[np.float64]:
        z64 = np.asarray(z, np.float64)
        return np.asarray(z64[:, c] - logsumexp(np.delete(z64, c, axis=1), axis=1))

    return score


def load_shuffled_network(seed: int, n: int) -> CanvasCNN:
    """Return a network trained on canvases with shuffled labels, from the cache if it is there."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1000 + seed)
        network = CanvasCNN()
    names = list(network.state_dict())

    def compute() -> tuple[NDArray[Any], ...]:
        canvases = make_canvases(n, seed + 500)
        y = np.random.default_rng(seed).permutation(canvases.y)
        recipe = Recipe(2 * n // 64, 64, 1e-2, 10, 0.01, seed=seed)
        rows = Batch(normalize(canvases.x), torch.from_numpy(y))
        trained = train(network, rows, _compute_loss, recipe)
        return tuple(trained.state_dict()[name].numpy() for name in names)

    arrays = load_or_compute_arrays(f"canvas-shuffled-{seed}-{n}", compute)
    state = {name: torch.from_numpy(np.array(a)) for name, a in zip(names, arrays, strict=True)}
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def _compute_loss(network: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
    return functional.cross_entropy(network(batch.x), batch.y)


def measure_null(network: nn.Module, x: Tensor, reference: Tensor, score: Score) -> Criteria:
    """Return thresholds that 95 % of the effects in a network without knowledge stay below."""
    runner, means = InterventionRunner(network, x), InterventionRunner(network, reference)
    layer, mean = runner.layers[-1], means.layers[-1]
    effects = measure_unit_effects(runner, layer, mean.activation, score)
    greatest = np.sort(np.argsort(-effects.mean(1))[:N_NULL_UNITS])
    paths = measure_path_effects(runner, layer, mean.x, greatest, score)
    return Criteria(
        min_share=float(np.quantile(compute_shares(effects), QUANTILE)),
        min_path_share=float(np.quantile(compute_path_shares(paths), QUANTILE)),
    )


def rank_units(
    network: nn.Module,
    x: Tensor,
    means: InterventionRunner,
    place: int,
    effects: Effects | None,
    c: int,
    rng: np.random.Generator,
) -> dict[str, Effects]:
    """Return the importance of every unit of a layer by each ranking, `[units]`.

    Also the mean gradient of each unit, which weighs activations in Grad-CAM. `effects` of the
    units, `[units]`, are measured if they are None.
    """
    runner = InterventionRunner(network, x)
    layer = runner.layers[place]
    mean = means.layers[place].activation.mean((0, 2, 3))
    gradient = _compute_gradient(runner.network, layer, x, c)
    activation = layer.activation
    if effects is None:
        reference = means.layers[place].activation
        effects = measure_unit_effects(runner, layer, reference, make_score(c)).mean(1)
    return {
        NODES: effects,
        GRADIENT: (gradient * activation).sum((2, 3)).mean(0).numpy(),
        TAYLOR: (gradient * (activation - mean[:, None, None])).sum((2, 3)).mean(0).numpy(),
        MEAN: activation.mean((0, 2, 3)).numpy(),
        RANDOM: rng.random(layer.n_units),
        WEIGHTS: gradient.mean((0, 2, 3)).numpy(),
    }


def _compute_gradient(network: nn.Module, layer: Layer, x: Tensor, c: int) -> Tensor:
    """Return the gradient of the log-odds of class c by the activations of a layer."""
    found: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        found.append(output.detach().clone().requires_grad_(True))
        return found[0]

    hook = layer.unit.register_forward_hook(keep)
    with torch.enable_grad():
        logits = network(x)
        others = torch.cat([logits[:, :c], logits[:, c + 1 :]], 1)
        (logits[:, c] - others.logsumexp(1)).sum().backward()
    hook.remove()
    assert found[0].grad is not None
    return found[0].grad


def measure_ablation(
    runner: InterventionRunner, means: InterventionRunner, place: int, rank: Effects, c: int
) -> float:
    """Return the mean probability of class c over numbers of ablated units, in [0, 1]."""
    mean = means.layers[place].activation.mean((0, 2, 3))
    order = np.argsort(-rank, kind="stable")
    sets = [order[:m].tolist() for m in N_ABLATED]
    p = ablate_units(runner, runner.layers[place], mean, sets, make_score(c))
    return float((1 / (1 + np.exp(-p))).mean())


def measure_stability(
    network: nn.Module,
    x: Tensor,
    reference: Tensor,
    criteria: Criteria,
    score: Score,
    c: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Return the Jaccard index of kept units between disjoint halves, by ranking."""
    means = InterventionRunner(network, reference)
    values: dict[str, list[float]] = {}
    for _ in range(N_DIVISIONS):
        halves = np.array_split(rng.permutation(len(x)), 2)
        kept, ranks = [], []
        for rows in halves:
            part = x[torch.from_numpy(rows)]
            graph = trace_causal_paths(network, part, reference, score, criteria, n_layers=0)
            kept.append(graph.units)
            effects = graph.unit_effects.mean(1)
            ranks.append(rank_units(network, part, means, -1, effects, c, rng))
        values.setdefault(PATHS, []).append(compute_jaccard(kept[0], kept[1]))
        for name in (NODES, GRADIENT, TAYLOR, MEAN, RANDOM):
            first = [
                np.argsort(-r[name], kind="stable")[: len(k)]
                for r, k in zip(ranks, kept, strict=True)
            ]
            label = f"as many by {name}"
            values.setdefault(label, []).append(compute_jaccard(*first))
    return {name: float(np.mean(v)) for name, v in values.items()}


def compute_jaccard(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    """Return the number of common units over the number of all; 1 for two empty sets."""
    union = len(set(a.tolist()) | set(b.tolist()))
    return len(set(a.tolist()) & set(b.tolist())) / union if union else 1.0


def measure_maps(
    layer: Layer, canvases: Canvases, graph: CausalGraph, gradient: Effects
) -> dict[str, float]:
    """Return the share of maps inside the digit over its share of the area, by weights."""
    weights = {
        PATHS: graph.get_weights(),
        ALL_UNITS: graph.unit_effects.mean(1),
        CAM: gradient,
        MEAN: np.ones(layer.n_units),
    }
    out = {}
    for name, w in weights.items():
        small = np.maximum(np.tensordot(layer.activation.numpy(), w, ((1,), (0,))), 0)
        ratios = []
        for image, mask in zip(small, canvases.mask, strict=True):
            full = np.maximum(resize_map(image.astype(np.float32), mask.shape), 0)
            total = float(full.sum())
            share = float(full[mask].sum()) / total if total > 0 else float(mask.mean())
            ratios.append(share / float(mask.mean()))
        out[name] = float(np.mean(ratios))
    return out
