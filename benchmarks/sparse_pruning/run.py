"""Does a penalty in training keep more accuracy when a vision transformer's weights are pruned?

A small vision transformer (4 blocks of width 64), pretrained on letters (notMNIST), is fine-tuned
on 4,000 images of clothes (Fashion-MNIST), 400 updates of 128, and then its smallest weights, over
all layers together, become zero, without further training. Arms, by what is added to cross-entropy:
nothing; the published penalty, 0.01 times the mean log(1 + A^2) of the attention of the last block;
the same 100 times as strong; the sum of absolute weights (L1). The strength of L1 is the one of
`L1_STRENGTHS` with the greatest mean accuracy over 50 to 90 % pruned on 2,000 further training
images, of a seed that is not counted. All arms share the pretrained network, and per seed the
training images, their order and the recipe; five seeds, 3,000 test images.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from benchmarks.claims import Claim, describe_claims, make_table
from benchmarks.tiny_vit import Images, measure_accuracy, pretrain, read_images
from ilk.architectures.tiny_vit import TinyViT
from ilk.compression.magnitude import prune_weights
from ilk.training.objective import Objective, WeightedSum
from ilk.training.objectives.attention_sparsity import AttentionSparsity
from ilk.training.objectives.cross_entropy import CrossEntropy
from ilk.training.objectives.lasso import Lasso
from ilk.training.optimizers import AdamW
from ilk.training.recipe import Recipe
from ilk.training.trainer import train

SEEDS, TUNING_SEED = range(5), 100
STEPS, BATCH_SIZE, LR = 400, 128, 1e-3
N_TRAIN, N_VALIDATION, N_TEST = 4000, 2000, 3000
FRACTIONS = (0.0, 0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9)
HEAVY = (0.5, 0.6, 0.7, 0.8, 0.9)
L1_STRENGTHS = (3e-6, 1e-5, 3e-5, 1e-4)
PUBLISHED, STRONG = 0.01, 1.0
NONE, ATTENTION = "no penalty", "attention, 0.01 (published)"
STRONG_ATTENTION, L1 = "attention, 1", "L1"
ENTRY = "sparse-then-prune-vit"
FILE = "training/objectives/attention_sparsity.py"


def run(small: bool = False) -> dict[str, Any]:
    """Return accuracy by arm and fraction, and the comparisons with no penalty."""
    seeds = SEEDS[:2] if small else SEEDS
    steps = 4 if small else STEPS
    start = pretrain("notmnist", range(10), 0, steps=4 if small else 700)
    strengths = L1_STRENGTHS[:1] if small else L1_STRENGTHS
    chosen, tried = (strengths[0], {}) if small else choose_strength(start, strengths, steps)
    curves: dict[str, list[dict[float, float]]] = {}
    for seed in seeds:
        for name, objective in list_arms(chosen).items():
            training, _, test = draw_images(seed, 200 if small else N_TEST)
            network = fine_tune(start, training, objective, steps, seed)
            curves.setdefault(name, []).append(sweep(network, test))
    return {
        "l1_strength": chosen,
        "l1_tried": tried,
        "accuracy": {
            name: {str(f): float(np.mean([c[f] for c in rows])) for f in FRACTIONS}
            for name, rows in curves.items()
        },
        **make_comparisons(curves),
    }


def list_arms(strength: float) -> dict[str, Objective]:
    """Return the loss of each arm."""
    return {
        NONE: CrossEntropy(),
        ATTENTION: AttentionSparsity(PUBLISHED),
        STRONG_ATTENTION: AttentionSparsity(STRONG),
        L1: WeightedSum((1.0, CrossEntropy()), (strength, Lasso())),
    }


def draw_images(seed: int, n_test: int = N_TEST) -> tuple[Images, Images, Images]:
    """Return training, validation and test images of a seed."""
    whole, test = read_images("fashion"), read_images("fashion", "test")
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(whole))
    held = rng.permutation(len(test))[:n_test]
    validation = rows[N_TRAIN : N_TRAIN + N_VALIDATION]
    return whole.pick(rows[:N_TRAIN]), whole.pick(validation), test.pick(held)


def fine_tune(
    start: TinyViT, images: Images, objective: Objective, steps: int, seed: int
) -> TinyViT:
    """Return the network tuned to images, with a new head."""
    network = copy.deepcopy(start)
    network.replace_head(10, seed)
    recipe = Recipe(steps, BATCH_SIZE, LR, max(1, steps // 10), 1e-4, seed=seed, optimizer=AdamW())
    return train(network, images.to_batch(), objective, recipe)


def sweep(network: TinyViT, images: Images) -> dict[float, float]:
    """Return the accuracy by fraction of weights that are pruned."""
    accuracy = {}
    for fraction in FRACTIONS:
        pruned = copy.deepcopy(network)
        prune_weights(pruned, fraction)
        accuracy[fraction] = measure_accuracy(pruned, images)
    return accuracy


def choose_strength(
    start: TinyViT, strengths: tuple[float, ...], steps: int
) -> tuple[float, dict[str, float]]:
    """Return the strength of L1 that keeps most accuracy on validation images, and all tried."""
    training, validation, _ = draw_images(TUNING_SEED)
    tried = {}
    for strength in strengths:
        network = fine_tune(start, training, list_arms(strength)[L1], steps, TUNING_SEED)
        curve = sweep(network, validation)
        tried[strength] = float(np.mean([curve[f] for f in HEAVY]))
    best = max(tried, key=lambda strength: tried[strength])
    return best, {f"{strength:g}": value for strength, value in tried.items()}


def make_comparisons(curves: dict[str, list[dict[float, float]]]) -> dict[str, Any]:
    """Return a table unpruned, one of 10 % and one of the mean over 50 to 90 % pruned."""
    claims = [Claim(ENTRY, FILE, ATTENTION, NONE), Claim(ENTRY, FILE, STRONG_ATTENTION, NONE)]
    claims += [Claim(ENTRY, FILE, L1, NONE), Claim(ENTRY, FILE, ATTENTION, L1)]
    settings = {"not pruned": (0.0,), "10 % pruned": (0.1,), "50 to 90 % pruned": HEAVY}
    tables = [
        make_table(
            f"notMNIST to Fashion-MNIST, {setting}",
            "accuracy",
            {
                name: [float(np.mean([row[f] for f in fractions])) for row in rows]
                for name, rows in curves.items()
            },
            claims,
        )
        for setting, fractions in settings.items()
    ]
    return {"tables": tables, "verdicts": describe_claims(tables)}
