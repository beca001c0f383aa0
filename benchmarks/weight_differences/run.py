"""Can the weight changes from tuning an old version of a network be added to its new version?

A network of four convolutions with group normalization learns five classes of Fashion-MNIST,
drawn per seed: version 1 from 4,000 images (3 passes), version 2 from version 1 and 8,000 images (3
more passes). Version 1 is then tuned on 60 images of each of the other five classes, with a new
head, for 100 updates, and what that changed, `D`, is added to version 2 with the same new head.
Beside it: version 2 with a new head; version 1 tuned, as it is; version 2 with the tuned head
alone; a logistic head on version 2's features of the same 300 images; a random difference of the
same norm in each layer; `D` with the weights of each layer shuffled; and `D` added to a version 2
that started from other random weights. The ceiling is version 2 tuned itself. Then each is tuned on
in the same way, and the updates are counted until it first has 95 % of the ceiling's accuracy (110
if never), which is measured every 10 updates. The recipe was tried on seed 100. The barrier is the
rise of the loss between two networks above the line between their losses, on test images of the
first five classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.claims import Claim, Direction, describe_claims, make_table
from benchmarks.datasets import read_fashion
from ilk.core.data import Data
from ilk.core.errors import Unavailable
from ilk.finetuning.weight_differences import (
    State,
    add_difference,
    compute_barrier,
    compute_difference,
)
from ilk.methods.logistic_regression import LogisticRegression
from ilk.training.batch import Batch
from ilk.training.optimizers import AdamW
from ilk.training.recipe import Recipe
from ilk.training.schedules import Constant
from ilk.training.trainer import train
from ilk.training.validation import Validation, ValidationResult

SEEDS, K = range(8), 5
N_OLD, N_NEW, N_PER_CLASS, N_TEST = 4000, 8000, 60, 600
PASSES, BATCH_SIZE, TUNING_STEPS, EVERY = 3, 64, 100, 10
LR, TUNING_LR = 2e-3, 1e-3
WIDTHS = (12, 24, 24, 48)
SCALES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
SHARE = 0.95
ENTRY, FILE = "finetune-diff-transfer", "finetuning/weight_differences.py"
NEW, OLD_TUNED, HEAD = (
    "version 2, new head",
    "version 1, tuned",
    "version 2, head of version 1 tuned",
)
OURS, LOGISTIC, CEILING = "version 2 + D", "version 2, logistic head", "version 2, tuned"
RANDOM, SHUFFLED = "version 2 + random, norms of D", "version 2 + D shuffled in layers"
OTHER, OTHER_NEW = "other version 2 + D", "other version 2, new head"
RIVALS = (LOGISTIC, OLD_TUNED, HEAD, RANDOM, SHUFFLED, OTHER, CEILING)
SETTING = "Fashion-MNIST, 5 new classes"
BEFORE, AFTER = "accuracy before further tuning", "accuracy after further tuning"
STEPS = "updates to 95 % of the ceiling"
BARRIER, PAIRS = "barrier", ("version 1 and version 2", "version 1 and other version 2")


class Network(nn.Module):
    """Four convolutions with group normalization, and a linear head."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers: list[nn.Module] = []
            for before, after, stride in zip((1, *WIDTHS), WIDTHS, (2, 1, 2, 2), strict=False):
                layers += [
                    nn.Conv2d(before, after, 3, stride, 1),
                    nn.GroupNorm(4, after),
                    nn.ReLU(),
                ]
            self.body = nn.Sequential(*layers)
            self.head = nn.Linear(WIDTHS[-1], K)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return features `[n, 48]` of images `[n, 1, 28, 28]`."""
        pooled: Tensor = self.body(x).mean((2, 3))
        return pooled

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.forward_features(x))  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False)
class Sets:
    """The images of one seed: pretraining for both versions, tuning, and test images."""

    old: Batch
    new: Batch
    tuning: Batch
    old_test: Batch
    new_test: Batch


def run(small: bool = False) -> dict[str, Any]:
    """Run the benchmark; `small` takes seconds."""
    try:
        data = read_fashion(), read_fashion("test")
    except Unavailable as error:
        return {"tables": [], "verdict": [], "left out": [f"Fashion-MNIST: {error}"]}
    results = [measure_seed(*data, seed, small) for seed in (range(2) if small else SEEDS)]
    tables = []
    for metric in (BEFORE, STEPS, AFTER, BARRIER):
        arms = results[0][metric]
        scores = {arm: [r[metric][arm] for r in results] for arm in arms}
        rivals = PAIRS[1:] if metric == BARRIER else [a for a in (NEW, *RIVALS) if a in arms]
        ours = PAIRS[0] if metric == BARRIER else OURS
        claims = [Claim(ENTRY, FILE, ours, arm) for arm in rivals]
        better: Direction = "higher" if metric in (BEFORE, AFTER) else "lower"
        tables.append(make_table(SETTING, metric, scores, claims, better))
    return {
        "tables": tables,
        "curves": {arm: [r["curves"][arm] for r in results] for arm in results[0]["curves"]},
        "verdict": describe_claims(tables, ("metric",)),
        "left out": [],
    }


def measure_seed(source: Data, test: Data, seed: int, small: bool) -> dict[str, Any]:
    """Return figures by metric and arm for one seed."""
    sets = draw_sets(source, test, seed, small)
    nets = {}
    for name, start in (("1", seed), ("other", seed + 1000)):
        nets[name] = fit(Network(start), sets.old, seed, small)
        copied = copy_network(take_state(nets[name]))
        nets[f"{name} new"] = fit(copied, sets.new, seed + 1, small)
    v1, v2, other = (take_state(nets[name]) for name in ("1", "1 new", "other new"))
    loss = make_loss(sets.old_test)
    barriers = [compute_barrier(v1, state, loss, 3 if small else 9) for state in (v2, other)]
    new_head = {k: v for k, v in take_state(Network(seed + 2000)).items() if "head" in k}
    v1, v2, other = ({**state, **new_head} for state in (v1, v2, other))
    tuned_old, _ = tune(v1, sets, seed, small)
    difference = compute_difference(tuned_old, v1)
    rng = torch.Generator().manual_seed(seed)
    starts: dict[str, State] = {
        NEW: v2,
        LOGISTIC: {**v2, **fit_head(v2, sets.tuning)},
        OLD_TUNED: tuned_old,
        HEAD: {**v2, **{k: v for k, v in tuned_old.items() if "head" in k}},
        OURS: add_difference(v2, difference),
        RANDOM: add_difference(v2, {k: randomize(v, rng) for k, v in difference.items()}),
        SHUFFLED: add_difference(v2, {k: shuffle(v, rng) for k, v in difference.items()}),
        OTHER_NEW: other,
        OTHER: add_difference(other, difference),
    }
    curves = {arm: tune(state, sets, seed, small)[1] for arm, state in starts.items()}
    before = {arm: curve[0][1] for arm, curve in curves.items()}
    ceiling = before[CEILING] = curves[NEW][-1][1]
    steps = {arm: count_steps(curve, SHARE * ceiling) for arm, curve in curves.items()}
    for scale in SCALES:
        state = add_difference(v2, difference, scale)
        before[f"version 2 + {scale} D"] = measure_accuracy(copy_network(state), sets.new_test)
    return {
        BEFORE: before,
        STEPS: steps,
        AFTER: {arm: curve[-1][1] for arm, curve in curves.items()},
        BARRIER: dict(zip(PAIRS, barriers, strict=True)),
        "curves": {arm: [round(value, 4) for _, value in curve] for arm, curve in curves.items()},
    }


def draw_sets(source: Data, test: Data, seed: int, small: bool) -> Sets:
    """Draw classes and images of a seed."""
    rng = np.random.default_rng(seed)
    classes = rng.permutation(10)

    def draw(data: Data, chosen: np.ndarray[Any, Any], count: int, per_class: bool) -> Batch:
        order = rng.permutation(len(data))
        order = order[np.isin(data.y[order], chosen)]
        if per_class:
            order = np.concatenate([order[data.y[order] == c][:count] for c in chosen])
        y = np.array([list(chosen).index(c) for c in data.y[order]])
        rows = order if per_class else order[:count]
        x = torch.from_numpy(np.array(data.x[rows])).reshape(-1, 1, 28, 28)
        return Batch((x - 0.29) / 0.35, torch.from_numpy(y[: len(rows)]))

    first, second = classes[:K], classes[K:]
    n_old, n_new, n_test = (200, 300, 100) if small else (N_OLD, N_NEW, N_TEST)
    return Sets(
        draw(source, first, n_old, False),
        draw(source, first, n_new, False),
        draw(source, second, 10 if small else N_PER_CLASS, True),
        draw(test, first, n_test, False),
        draw(test, second, n_test, False),
    )


def fit(network: Network, rows: Batch, seed: int, small: bool) -> Network:
    """Return the network trained on the first classes."""
    steps = 4 if small else PASSES * len(rows) // BATCH_SIZE
    recipe = Recipe(steps, BATCH_SIZE, LR, min(20, steps // 2), 1e-4, seed=seed, optimizer=AdamW())
    return train(network, rows, compute_loss, recipe)


def tune(
    state: State, sets: Sets, seed: int, small: bool
) -> tuple[dict[str, Tensor], tuple[tuple[int, float], ...]]:
    """Return the state after tuning on the new classes, and test accuracy by updates made."""
    results: list[ValidationResult] = []
    steps = 20 if small else TUNING_STEPS
    network = copy_network(state)
    validation = Validation(
        lambda net: measure_accuracy(net, sets.new_test), EVERY, None, on_finish=results.append
    )
    recipe = Recipe(
        steps, BATCH_SIZE, TUNING_LR, 0, 1e-4, ema_width=0.0, seed=seed,
        optimizer=AdamW(), schedule=Constant(),
    )  # fmt: skip
    train(network, sets.tuning, compute_loss, recipe, validation=validation)
    return take_state(network), results[0].measures  # the last state: none is chosen by test images


def compute_loss(net: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
    """Return the cross-entropy of a batch."""
    return functional.cross_entropy(net(batch.x), batch.y)


@torch.no_grad()
def measure_accuracy(net: nn.Module, rows: Batch) -> float:
    """Return the accuracy on some rows."""
    return float((net(rows.x).argmax(1) == rows.y).float().mean())


def make_loss(rows: Batch) -> Any:
    """Return the loss of a state on some rows."""

    @torch.no_grad()
    def measure(state: State) -> float:
        return float(functional.cross_entropy(copy_network(state)(rows.x), rows.y))

    return measure


def take_state(network: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a network's state."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def copy_network(state: Mapping[str, Tensor]) -> Network:
    """Return a network with a state."""
    network = Network(0)
    network.load_state_dict(dict(state))
    return network


@torch.no_grad()
def fit_head(state: State, rows: Batch) -> dict[str, Tensor]:
    """Return the head that logistic regression gives on the features of some rows."""
    features = copy_network(state).forward_features(rows.x).numpy()
    names = tuple(map(str, range(K)))
    model: Any = LogisticRegression().fit(Data(features, rows.y.numpy(), names))
    zero = model.logits(np.zeros((1, WIDTHS[-1]), np.float32))
    weight = model.logits(np.eye(WIDTHS[-1], dtype=np.float32)) - zero  # logits are affine
    return {
        "head.weight": torch.from_numpy(np.ascontiguousarray(weight.T, np.float32)),
        "head.bias": torch.from_numpy(np.asarray(zero[0], np.float32)),
    }


def randomize(difference: Tensor, rng: torch.Generator) -> Tensor:
    """Return random numbers of the norm of a difference."""
    noise = torch.randn(difference.shape, generator=rng)
    scaled: Tensor = noise * (difference.norm() / noise.norm())
    return scaled


def shuffle(difference: Tensor, rng: torch.Generator) -> Tensor:
    """Return the numbers of a difference in random places."""
    order = torch.randperm(difference.numel(), generator=rng)
    return difference.flatten()[order].view_as(difference)


def count_steps(curve: tuple[tuple[int, float], ...], target: float) -> float:
    """Return the number of updates after which a curve first reaches `target`."""
    reached = [step for step, value in curve if value >= target]
    return float(reached[0] if reached else curve[-1][0] + EVERY)
