"""What classes that keep arriving cost: old ones forgotten, and bytes kept against it.

The catalogue's rows class-incremental-survey, weight-aligning, generative-kernel-continual and
teen-prototype-calibration. Digits (800 rows drawn of 1,000, tested on the other 797), Fashion-MNIST
(2,000 rows, pixels) and CIFAR-10 (2,000 rows through MobileNetV2) come in 5 tasks of 2 classes, UCI
letters (3,000 rows) in 13; Fashion and CIFAR are tested on 2,000 rows of their test parts, letters
on 3,000 rows that no draw learns from. A seed draws rows, the order of classes and weights; the
rows tested stay the same, so the interval is over what was learnt. All heads have one hidden layer
of 64 units, standardising and steps (100 a task) alike.

Every contender keeps what its model holds, in bytes, and nothing else. On Fashion, CIFAR and
letters exemplar methods keep 2 rows a class. On digits they keep as many as a budget of bytes
allows, generative and stored kernels as many rows of numbers, and a method that costs the same
whatever is allowed is left out where it costs more; the area under last accuracy over the logarithm
of bytes counts it as chance there. "all rows" is the same head with everything at once and as many
steps; streaming GDA and nearest mean need no exemplar.

Nothing was chosen on rows that are tested. Strengths of LwF (3) and EWC (10), whose loss runs over
new classes alone, and the least spread that features are divided by: on a quarter of the 1,000
digits, with class orders that no seed draws. TEEN's two numbers: on base classes in hiding (see
`ilk.bench._few_shot_growth`). Steps are what time allows, the rest is the papers'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from ilk.bench import _sets, spread
from ilk.bench._arriving_sets import (
    CLAIMS,
    CLIPPED,
    DISTIL,
    STEPS,
    Tasks,
    cifar,
    closed,
    contenders,
    digits,
    fashion,
    letters,
    streamed,
)
from ilk.bench._byte_budgets import BUDGETS, budgets
from ilk.bench._family import Claim, table
from ilk.bench._few_shot_growth import Draws, tables
from ilk.errors import Unavailable
from ilk.methods.fine_tuning import FineTuning
from ilk.methods.generative_kernel import GenerativeKernel
from ilk.methods.weight_aligning import WeightAligning, norm_ratio
from ilk.models import Method, Perceptron
from ilk.protocols import Step
from ilk.training.continual import Stage, learn

S = TypeVar("S")
SEEDS, FEW = 5, 2
Scores = dict[str, list[float]]
Work = Callable[[dict[str, Any], S, int], None]


def run(small: bool = False) -> dict[str, Any]:
    """All tables; `small` is digits with two seeds."""
    seeds = 2 if small else SEEDS
    told: dict[str, Any] = {"tables": [], "left out": [], "chosen by TEEN": []}
    tasks = replace(digits(), ways=5) if small else digits()
    told |= budgets(tasks, seeds, BUDGETS[:1] if small else BUDGETS)
    found, told["norm ratios"], told["bytes"] = told.pop("curve tables"), {}, {}
    told["tables"] += found + ([] if small else contrast(tasks, seeds))
    told["streaming"] = {"digits": streamed(tasks, seeds)}
    for made in () if small else (fashion, cifar, letters):
        _with(told, made, _fixed, seeds)
    for few in (_few_digits,) if small else (_few_cifar, _few_taught, _few_letters, _few_omniglot):
        _with(told, few, _calibrated, 3 if small else 0)
    return told


def _with(told: dict[str, Any], made: Callable[[], S], work: Work[S], count: int) -> None:
    """`work` on a set, or a line that says why it is not here."""
    try:
        work(told, made(), count)
    except Unavailable as error:
        told["left out"].append(f"{made.__name__.removeprefix('_')}: {error}")


def _calibrated(told: dict[str, Any], draws: Draws, fewer: int) -> None:
    made, chosen = tables(replace(draws, draws=fewer or draws.draws))
    told["tables"] += made
    told["chosen by TEEN"].append(chosen)


def _fixed(told: dict[str, Any], tasks: Tasks, seeds: int) -> None:
    """Tables of a set at two exemplars a class."""
    last, mean, old = Scores(), Scores(), Scores()
    ratios: dict[str, list[float]] = {}
    for seed in range(seeds):
        steps = tasks.steps(seed)
        kept = FEW * tasks.train.k
        methods = contenders(kept, seed) | closed(4, seed)
        methods[CLIPPED] = WeightAligning(kept, align=False, steps=STEPS, seed=seed)
        stages = {name: learn(method, steps) for name, method in methods.items()}
        for name, way in stages.items():
            last.setdefault(name, []).append(way[-1].accuracy)
            mean.setdefault(name, []).append(float(np.mean([s.accuracy for s in way])))
            old.setdefault(name, []).append(way[-1].old)
        for name in (DISTIL, CLIPPED):
            ratios.setdefault(name, []).append(_ratio(stages[name], steps))
        last.setdefault("all rows", []).append(_together(tasks, steps, seed))
    where = f"{tasks.where}, {FEW} exemplars a class"
    told["tables"] += [
        table(where, "last accuracy", last, CLAIMS),
        table(where, "average accuracy", mean, CLAIMS),
        table(where, "last accuracy on old classes", old, CLAIMS),
    ]
    told["norm ratios"][tasks.name] = {name: spread(r) for name, r in ratios.items()}
    told["bytes"][tasks.name] = {name: way[-1].charged for name, way in stages.items()}
    told["streaming"][tasks.name] = streamed(tasks, 1)


def _ratio(way: Sequence[Stage], steps: Sequence[Step]) -> float:
    """Length of the last task's weights over that of the earlier ones'."""
    model = way[-1].model
    assert isinstance(model, Perceptron)
    new = np.unique(steps[-1].train.y)
    old = np.setdiff1d(np.flatnonzero(np.isfinite(model.bias)), new)
    return norm_ratio(model.weight[new], model.weight[old])


def _together(tasks: Tasks, steps: Sequence[Step], seed: int) -> float:
    """Last accuracy of the same head where all rows are there at once."""
    train = steps[0].train
    for step in steps[1:]:
        train = train.concat(step.train)
    whole = Step(train, tasks.test, np.arange(len(tasks.test)))
    return learn(FineTuning(steps=STEPS * len(steps), seed=seed), [whole], joint=True)[-1].accuracy


def contrast(tasks: Tasks, seeds: int) -> list[dict[str, Any]]:
    """Whether the contrastive term adds to a kernel that is learnt from generated rows."""
    scores = Scores()
    for seed in range(seeds):
        steps = tasks.steps(seed)
        methods: dict[str, Method] = {
            "linear kernel": GenerativeKernel(seed=seed),
            "learnt kernel": GenerativeKernel(hidden=64, seed=seed),
            "learnt kernel, contrastive": GenerativeKernel(hidden=64, contrast=1.0, seed=seed),
            "no replay (fine-tuning)": FineTuning(steps=STEPS, seed=seed),
        }
        for name, method in methods.items():
            scores.setdefault(name, []).append(learn(method, steps)[-1].accuracy)
    row, file = "generative-kernel-continual", "methods/generative_kernel.py"
    claims = [
        Claim(row, file, "learnt kernel, contrastive", "learnt kernel"),
        Claim(row, file, "linear kernel", "no replay (fine-tuning)"),
    ]
    return [table(f"{tasks.name}, generated rows", "last accuracy", scores, claims)]


def _few_digits() -> Draws:
    return _few(digits(), 6)


def _few_cifar() -> Draws:
    return _few(cifar(), 6)


def _few_taught() -> Draws:
    return replace(_few(fashion(), 6), draws=10, trained=True)


def _few_letters() -> Draws:
    return _few(letters(), 16)


def _few(tasks: Tasks, base: int) -> Draws:
    return Draws(tasks.name, tasks.train, tasks.test, base, tasks.learn)


def _few_omniglot() -> Draws:
    """15 drawings of each character to learn from, 5 to answer for."""
    data = _sets.omniglot()
    order = np.random.default_rng(0).permutation(len(data))
    place = np.empty(len(data), np.int64)
    for c in range(data.k):
        mine = order[data.y[order] == c]
        place[mine] = np.arange(len(mine))
    train = data.rows(place < 15)
    return Draws("omniglot", train, data.rows(place >= 15), 90, len(train), 5)
