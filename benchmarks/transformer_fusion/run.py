"""What is a fusion of two vision transformers worth, next to their plain average and their parents?

Pairs of small vision transformers (4 blocks of width 64), trained on MNIST from different seeds in
300 updates of 128 images, become one: by the plain average of weights, or after the units of the
first were aligned to those of the second by optimal transport on 200 training images: smoothed
(0.08) or exact, with the published maps of the residual stream or with one map for it. Then some,
and the better parent, are trained 100 updates more. The ensemble averages the probabilities of both
parents and takes twice the time. Five pairs, 5,000 test images; the better parent is the one with
the greater accuracy on 2,000 training images that were not trained on.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch

from benchmarks.claims import Claim, describe_claims, make_table
from benchmarks.tiny_vit import Images, measure_accuracy, pretrain, read_images
from ilk.architectures.tiny_vit import TinyViT
from ilk.compression.fusion import FusionSettings, align, average
from ilk.training.objectives.cross_entropy import CrossEntropy
from ilk.training.optimizers import AdamW
from ilk.training.recipe import Recipe
from ilk.training.trainer import train

SEEDS, STEPS, MORE_STEPS, BATCH_SIZE, LR = range(5), 300, 100, 128, 1e-3
N_SAMPLES, N_TRAIN, N_VALIDATION, N_TEST = 200, 15_000, 2000, 5000
PARENT, ENSEMBLE, VANILLA = "better parent", "ensemble of both", "plain average"
SOFT, HARD = "transport, smoothed", "transport, exact"
SOFT_SHARED, HARD_SHARED = "transport, smoothed, one map", "transport, exact, one map"
FUSIONS = {
    SOFT: FusionSettings(0.08, "mean"),
    HARD: FusionSettings(0.0, "mean"),
    SOFT_SHARED: FusionSettings(0.08, "shared"),
    HARD_SHARED: FusionSettings(0.0, "shared"),
}
TUNED = (PARENT, VANILLA, SOFT, HARD_SHARED)
ENTRY, FILE = "transformer-fusion-ot", "compression/fusion.py"


def run(small: bool = False) -> dict[str, Any]:
    """Return accuracies by arm, without and with more training, and the comparisons."""
    one_shot: dict[str, list[float]] = {}
    tuned: dict[str, list[float]] = {}
    kept = []
    for seed in SEEDS[:2] if small else SEEDS:
        parents = [
            pretrain("mnist", range(10), 2 * seed + i, steps=4 if small else STEPS) for i in (0, 1)
        ]
        training, validation, test = draw_images(seed, 300 if small else N_TEST)
        arms = fuse_all(parents, training.x[:N_SAMPLES], validation)
        for name, network in arms.items():
            one_shot.setdefault(name, []).append(measure_accuracy(network, test))
        one_shot.setdefault(ENSEMBLE, []).append(measure_ensemble(parents, test))
        aligned = align(parents[0], parents[1], training.x[:N_SAMPLES], FUSIONS[HARD_SHARED])
        kept.append(measure_accuracy(aligned, test) - measure_accuracy(parents[0], test))
        for name in TUNED:
            steps = 2 if small else MORE_STEPS
            network = train_more(arms[name], training, steps, seed)
            tuned.setdefault(name, []).append(measure_accuracy(network, test))
    return {"change_by_exact_alignment_with_one_map": kept, **compare(one_shot, tuned)}


def draw_images(seed: int, n_test: int = N_TEST) -> tuple[Images, Images, Images]:
    """Return training, validation and test images."""
    whole, test = read_images("mnist"), read_images("mnist", "test")
    rng = np.random.default_rng(1000 + seed)
    rows = rng.permutation(len(whole))
    held = rng.permutation(len(test))[:n_test]
    validation = rows[N_TRAIN : N_TRAIN + N_VALIDATION]
    return whole.pick(rows[:N_TRAIN]), whole.pick(validation), test.pick(held)


def fuse_all(
    parents: list[TinyViT], samples: torch.Tensor, validation: Images
) -> dict[str, TinyViT]:
    """Return the networks that are compared, all of the same size."""
    best = max(parents, key=lambda network: measure_accuracy(network, validation))
    fused = {
        name: average([align(parents[0], parents[1], samples, settings), parents[1]])
        for name, settings in FUSIONS.items()
    }
    return {PARENT: best, VANILLA: average(parents), **fused}


@torch.inference_mode()
def measure_ensemble(networks: list[TinyViT], images: Images) -> float:
    """Return the accuracy of the mean of the networks' probabilities."""
    answers = [
        sum(network(part).softmax(1) for network in networks).argmax(1)
        for part in torch.split(images.x, 500)
    ]
    return float((torch.cat(answers) == images.y).float().mean())


def train_more(network: TinyViT, images: Images, steps: int, seed: int) -> TinyViT:
    """Return a network after some more updates."""
    recipe = Recipe(steps, BATCH_SIZE, LR, max(1, steps // 10), 0.05, seed=seed, optimizer=AdamW())
    return train(copy.deepcopy(network), images.to_batch(), CrossEntropy(), recipe)


def compare(one_shot: dict[str, list[float]], tuned: dict[str, list[float]]) -> dict[str, Any]:
    """Return both tables and what they say."""
    tables = [
        make_table(
            "MNIST, as fused",
            "accuracy",
            one_shot,
            [Claim(ENTRY, FILE, name, VANILLA) for name in FUSIONS]
            + [Claim(ENTRY, FILE, SOFT, HARD), Claim(ENTRY, FILE, SOFT_SHARED, HARD_SHARED)]
            + [Claim(ENTRY, FILE, SOFT, PARENT)],
        ),
        make_table(
            f"MNIST, after {MORE_STEPS} more updates",
            "accuracy",
            tuned,
            [Claim(ENTRY, FILE, name, other) for name in (SOFT, HARD_SHARED)
             for other in (PARENT, VANILLA)],
        ),
    ]  # fmt: skip
    return {"tables": tables, "verdicts": describe_claims(tables)}
