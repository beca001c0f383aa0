"""Input gradients of standard and of adversarially trained networks: DiffROAR and BlockMNIST."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.canvas import FloatArray
from benchmarks.datasets import read_mnist
from benchmarks.explain_maps.maps import IntArray
from ilk.explain.diffroar import compute_input_gradients, measure_diffroar, measure_mass_inside
from ilk.training.objectives.adversarial import Adversarial
from ilk.training.optimizers import AdamW
from ilk.training.trainer import Batch, Recipe, train

WIDTH, BATCH_SIZE, LR = 256, 128, 3e-3
EPS = 1.5  # l2, of pixels in [0, 1]
BLOCK_EPS = 2.5
FIRST_SHARE = 0.1  # of the pixels of a block image whose place is counted
N_IG_STEPS = 16


def train_mlp(
    x: FloatArray, y: IntArray, steps: int, seed: int, eps: float = 0.0, k: int = 10
) -> nn.Module:
    """Return a network of one hidden layer for flat rows `[n, d]`, robust within `eps`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(x.shape[1], WIDTH), nn.ReLU(), nn.Linear(WIDTH, k))
    rows = Batch(torch.from_numpy(np.asarray(x, np.float32)), torch.from_numpy(y))
    recipe = Recipe(steps, BATCH_SIZE, LR, min(20, steps // 4), seed=seed, optimizer=AdamW())
    return train(network, rows, Adversarial(eps), recipe)


def measure_accuracy(network: nn.Module, x: FloatArray, y: IntArray) -> float:
    """Return the accuracy in [0, 1] of a network on flat rows."""
    with torch.inference_mode():
        logits = network(torch.from_numpy(np.asarray(x, np.float32)))
    return float((logits.argmax(1).numpy() == y).mean())


def integrate_gradients(network: nn.Module, x: FloatArray) -> FloatArray:
    """Return the size of integrated gradients of the predicted logit, from black."""
    rows = torch.from_numpy(np.asarray(x, np.float32))
    classes = network(rows).argmax(1)
    total = torch.zeros_like(rows)
    for step in range(N_IG_STEPS):
        at = (rows * (step + 0.5) / N_IG_STEPS).requires_grad_()
        with torch.enable_grad():
            chosen = network(at).gather(1, classes[:, None]).sum()
        total += torch.autograd.grad(chosen, at)[0]
    return np.asarray(np.abs((total * rows / N_IG_STEPS).numpy()))


def run_diffroar(
    seed: int, n: int, n_test: int, steps: int, levels: tuple[float, ...]
) -> dict[str, Any]:
    """Return DiffROAR in points of accuracy, mean over levels and by level, for one seed."""
    rng = np.random.default_rng(seed)
    data, test = read_mnist("train"), read_mnist("test")
    rows, test_rows = (rng.permutation(len(d.x))[:m] for d, m in ((data, n), (test, n_test)))
    x, y, test_x, test_y = data.x[rows], data.y[rows], test.x[test_rows], test.y[test_rows]

    def retrain(a: Any, labels: Any, test_a: Any, test_labels: Any) -> float:
        return measure_accuracy(train_mlp(a, labels, steps, seed + 100), test_a, test_labels)

    standard = train_mlp(x, y, 2 * steps, seed)
    robust = train_mlp(x, y, 2 * steps, seed, EPS)
    arms: dict[str, tuple[FloatArray, FloatArray]] = {
        "random": (_draw(x.shape, rng), _draw(test_x.shape, rng)),
        "standard, true label": _attribute(standard, x, y, test_x, test_y),
        "standard, predicted label": _attribute(standard, x, None, test_x, None),
        "robust, true label": _attribute(robust, x, y, test_x, test_y),
        "robust, predicted label": _attribute(robust, x, None, test_x, None),
        "standard, integrated gradients": (
            integrate_gradients(standard, x),
            integrate_gradients(standard, test_x),
        ),
    }
    out: dict[str, Any] = {"accuracy": {
        "standard": measure_accuracy(standard, test_x, test_y),
        "robust": measure_accuracy(robust, test_x, test_y),
    }}  # fmt: skip
    for name, (a, test_a) in arms.items():
        powers = measure_diffroar(x, y, a, test_x, test_y, test_a, retrain, levels)
        out[name] = {f"{p.level:g}": 100 * p.difference for p in powers}
    return out


def _draw(shape: tuple[int, ...], rng: np.random.Generator) -> FloatArray:
    return rng.random(shape).astype(np.float32)


def _attribute(
    network: nn.Module,
    x: FloatArray,
    y: IntArray | None,
    test_x: FloatArray,
    test_y: IntArray | None,
) -> tuple[FloatArray, FloatArray]:
    first, second = ((x, y), (test_x, test_y))
    return compute_input_gradients(network, *first), compute_input_gradients(network, *second)


def make_blocks(
    n: int, seed: int, part: str, is_fixed: bool = False
) -> tuple[FloatArray, IntArray, NDArray[np.bool_]]:
    """Return BlockMNIST: a 0 or a 1 above or below a block that is the same in all images.

    Returns:
        Flat images `[n, 1568]`, classes 0 and 1 `[n]`, and where the digit's block lies.
    """
    rng, data = np.random.default_rng([seed, 7]), read_mnist(part)
    rows = rng.choice(np.flatnonzero(data.y < 2), n)
    null = (np.random.default_rng(0).random((28, 28)) < 0.2).astype(np.float32)
    null[:, :4] = null[:, -4:] = null[:4] = null[-4:] = 0
    is_top = np.ones(n, np.bool_) if is_fixed else rng.random(n) < 0.5
    digits = data.x[rows].reshape(n, 28, 28)
    nulls = np.broadcast_to(null, digits.shape)
    upper = np.where(is_top[:, None, None], digits, nulls)
    lower = np.where(is_top[:, None, None], nulls, digits)
    inside = np.zeros((n, 56, 28), np.bool_)
    inside[is_top, :28] = inside[~is_top, 28:] = True
    x = np.concatenate([upper, lower], 1).reshape(n, -1).astype(np.float32)
    return x, data.y[rows], inside.reshape(n, -1)


def run_blocks(seed: int, n: int, steps: int) -> dict[str, float]:
    """Return which part (%) of the first gradient pixels lies in the digit's block."""
    out = {}
    for is_fixed, place in ((False, "random place"), (True, "fixed place")):
        x, y, _ = make_blocks(n, seed, "train", is_fixed)
        test_x, test_y, inside = make_blocks(min(n, 1000), seed, "test", is_fixed)
        for name, eps in (("standard", 0.0), ("robust", BLOCK_EPS)):
            network = train_mlp(x, y, steps, seed, eps, k=2)
            gradients = compute_input_gradients(network, test_x, test_y)
            out[f"{name}, {place}"] = 100 * measure_mass_inside(gradients, inside, FIRST_SHARE)
            out[f"accuracy of {name}, {place}"] = 100 * measure_accuracy(network, test_x, test_y)
            if not is_fixed and not eps:
                values = integrate_gradients(network, test_x)
                out["standard, integrated gradients, random place"] = 100 * measure_mass_inside(
                    values, inside, FIRST_SHARE
                )
    values = _draw(inside.shape, np.random.default_rng(seed))
    out["random"] = 100 * measure_mass_inside(values, inside, FIRST_SHARE)
    return out
