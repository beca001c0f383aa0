"""Class-incremental learning: how much is forgotten, and what do stored bytes buy?

Entries class-incremental-survey, weight-aligning, generative-kernel-continual and
teen-prototype-calibration. Digits (800 rows drawn from 1,000, tested on the other 797),
Fashion-MNIST (2,000 rows, pixels, tested on 2,000 of its test part) and UCI pendigits (2,000 rows,
tested on those of other writers) arrive in 5 tasks of 2 classes, PACS (500 rows through
MobileNetV2, tested on 240) in 3 tasks of 2 or 3. A seed draws rows, the order of classes and
weights; the test rows are fixed, so the interval is over training. All heads have one hidden layer
of 64 units and the same standardisation and number of steps (100 per task).

The memory of a method is the size of its model in bytes and nothing else. Exemplar methods store 2
rows per class of Fashion-MNIST and PACS and 10 of pendigits. On digits they store as many as a byte
budget allows, generative and stored kernels as many rows of numbers, and a method of constant size
is left out where it exceeds the budget; the area under last accuracy over the logarithm of bytes
counts it as chance there. "all rows" is the same head trained on everything at once for as many
steps; streaming GDA and the nearest class mean need no exemplars.

Few-shot increments (see `benchmarks.growing.few_shot`) are of Fashion-MNIST, PACS, UCI letters and
Omniglot. Nothing was chosen on test rows. The strengths of LwF (3) and EWC (10), whose loss runs
over the new classes only, and the smallest scale that features are divided by were chosen on a
quarter of the 1,000 digits, with class orders that no seed draws. TEEN's two hyperparameters are
chosen on hidden base classes. That weight aligning never enlarges was decided on digits and
pendigits with seeds 50 to 52; those here start at 100. pendigits and PACS were in no earlier
version. The number of steps is limited by time; the rest follows the papers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from benchmarks import datasets
from benchmarks.claims import Claim, make_table
from benchmarks.growing.byte_budgets import BUDGETS, tabulate_budgets
from benchmarks.growing.few_shot import IncrementSetup, make_tables
from benchmarks.growing.task_sets import (
    CLAIMS,
    CLIPPED,
    STEPS,
    UNALIGNED,
    Tasks,
    make_closed_form_methods,
    make_digit_tasks,
    make_fashion_tasks,
    make_head_methods,
    make_letter_tasks,
    make_pacs_tasks,
    make_pendigit_tasks,
    measure_streaming_error,
)
from benchmarks.runner import summarize
from ilk.core.contracts import Method
from ilk.core.errors import Unavailable
from ilk.core.linear_models import MLP
from ilk.methods.fine_tuning import FineTuning
from ilk.methods.generative_kernel import GenerativeKernel
from ilk.methods.weight_aligning import compute_norm_ratio
from ilk.protocols import Step
from ilk.training.continual import StepResult, run_steps

SetT = TypeVar("SetT")
SEEDS = range(100, 105)
Scores = dict[str, list[float]]
Study = Callable[[dict[str, Any], SetT], None]


def run(small: bool = False) -> dict[str, Any]:
    """Return all tables; `small` is digits with two seeds."""
    seeds = SEEDS[:2] if small else SEEDS
    results: dict[str, Any] = {"tables": [], "left out": [], "selected by TEEN": []}
    tasks = replace(make_digit_tasks(), classes_per_task=5) if small else make_digit_tasks()
    results |= tabulate_budgets(tasks, seeds, BUDGETS[:1] if small else BUDGETS)
    budget_tables, results["norm ratios"], results["bytes"] = results.pop("curve tables"), {}, {}
    results["tables"] += budget_tables + ([] if small else compare_contrastive(tasks, seeds))
    results["streaming"] = {"digits": measure_streaming_error(tasks, seeds)}
    for make_tasks in () if small else (make_fashion_tasks, make_pendigit_tasks, make_pacs_tasks):
        _run_if_available(results, make_tasks, _add_fixed_budget)
    for make_setup in (
        (_digits_setup,)
        if small
        else (_fashion_setup, _pacs_setup, _letters_setup, _omniglot_setup)
    ):
        _run_if_available(results, make_setup, _add_few_shot)
    return results


def _run_if_available(
    results: dict[str, Any], load: Callable[[], SetT], study: Study[SetT]
) -> None:
    """Run `study` on a data set, or record why it is not available."""
    try:
        study(results, load())
    except Unavailable as error:
        results["left out"].append(f"{load.__name__.removeprefix('_')}: {error}")


def _add_few_shot(results: dict[str, Any], setup: IncrementSetup) -> None:
    new_tables, parameters = make_tables(setup)
    results["tables"] += new_tables
    results["selected by TEEN"].append(parameters)


def _add_fixed_budget(results: dict[str, Any], tasks: Tasks) -> None:
    """Add the tables of a data set at a fixed number of exemplars per class."""
    last, mean, old = Scores(), Scores(), Scores()
    ratios: dict[str, list[float]] = {}
    for seed in SEEDS:
        steps = tasks.draw_steps(seed)
        n_exemplars = tasks.exemplars_per_class * tasks.train.k
        methods = make_head_methods(n_exemplars, seed) | make_closed_form_methods(4, seed)
        stages = {name: run_steps(method, steps) for name, method in methods.items()}
        for name, history in stages.items():
            last.setdefault(name, []).append(history[-1].accuracy)
            mean.setdefault(name, []).append(float(np.mean([s.accuracy for s in history])))
            old.setdefault(name, []).append(history[-1].old_accuracy)
        for name in (UNALIGNED, CLIPPED):
            ratios.setdefault(name, []).append(_weight_norm_ratio(stages[name], steps))
        last.setdefault("all rows", []).append(_joint_accuracy(tasks, steps, seed))
    setting = f"{tasks.setting}, {tasks.exemplars_per_class} exemplars per class"
    results["tables"] += [
        make_table(setting, "last accuracy", last, CLAIMS),
        make_table(setting, "average accuracy", mean, CLAIMS),
        make_table(setting, "last accuracy on old classes", old, CLAIMS),
    ]
    results["norm ratios"][tasks.name] = {name: summarize(r) for name, r in ratios.items()}
    results["bytes"][tasks.name] = {name: way[-1].memory_bytes for name, way in stages.items()}
    results["streaming"][tasks.name] = measure_streaming_error(tasks, SEEDS[:1])


def _weight_norm_ratio(history: Sequence[StepResult], steps: Sequence[Step]) -> float:
    """Return the norm of the last task's weights over that of the earlier tasks."""
    model = history[-1].model
    assert isinstance(model, MLP)
    new = np.unique(steps[-1].train.y)
    old = np.setdiff1d(np.flatnonzero(np.isfinite(model.bias)), new)
    return compute_norm_ratio(model.weight[new], model.weight[old])


def _joint_accuracy(tasks: Tasks, steps: Sequence[Step], seed: int) -> float:
    """Return the last accuracy of the same head trained on all rows at once."""
    train = steps[0].train
    for step in steps[1:]:
        train = train.concat(step.train)
    joint_step = Step(train, tasks.test, np.arange(len(tasks.test)))
    return run_steps(FineTuning(steps=STEPS * len(steps), seed=seed), [joint_step], joint=True)[
        -1
    ].accuracy


def compare_contrastive(tasks: Tasks, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Compare kernels trained on generated rows with and without the contrastive term."""
    scores = Scores()
    for seed in seeds:
        steps = tasks.draw_steps(seed)
        methods: dict[str, Method] = {
            "linear kernel": GenerativeKernel(seed=seed),
            "learned kernel": GenerativeKernel(hidden=64, seed=seed),
            "learned kernel, contrastive": GenerativeKernel(
                hidden=64, contrastive_weight=1.0, seed=seed
            ),
            "no replay (fine-tuning)": FineTuning(steps=STEPS, seed=seed),
        }
        for name, method in methods.items():
            scores.setdefault(name, []).append(run_steps(method, steps)[-1].accuracy)
    row, file = "generative-kernel-continual", "methods/generative_kernel.py"
    claims = [
        Claim(row, file, "learned kernel, contrastive", "learned kernel"),
        Claim(row, file, "linear kernel", "no replay (fine-tuning)"),
    ]
    return [make_table(f"{tasks.name}, generated rows", "last accuracy", scores, claims)]


def _digits_setup() -> IncrementSetup:
    return replace(_make_setup(make_digit_tasks(), 6), n_draws=3)


def _pacs_setup() -> IncrementSetup:
    return _make_setup(make_pacs_tasks(), 4)


def _fashion_setup() -> IncrementSetup:
    return replace(_make_setup(make_fashion_tasks(), 6), n_draws=10, has_hidden_layer=True)


def _letters_setup() -> IncrementSetup:
    return _make_setup(make_letter_tasks(), 16)


def _make_setup(tasks: Tasks, base: int) -> IncrementSetup:
    return IncrementSetup(tasks.name, tasks.train, tasks.test, base, tasks.n_train)


def _omniglot_setup() -> IncrementSetup:
    """Use 15 drawings of each character for training and 5 for testing."""
    data = datasets.read_omniglot()
    order = np.random.default_rng(0).permutation(len(data))
    position = np.empty(len(data), np.int64)
    for c in range(data.k):
        class_rows = order[data.y[order] == c]
        position[class_rows] = np.arange(len(class_rows))
    train = data.take(position < 15)
    return IncrementSetup("omniglot", train, data.take(position >= 15), 90, len(train), 5)
