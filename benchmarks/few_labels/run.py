"""Do unlabelled rows help where few are labelled, and does an embedding of other classes?

Tasks: 4 labelled rows of each of K classes and 75 unlabelled queries, which come from K_eff of them
(uneven) or from all (even). Data sets: scikit-learn's digits, USPS pixels, Fashion-MNIST pixels and
CIFAR-10 through MobileNetV2 (K 5, K_eff 2), and UCI letters (13, 4); USPS was not used before the
default weights of UNEM were learned, and none of them was used to learn them (see
`benchmarks.few_labels.learn_unem`). Half of the classes, drawn by the seed, are tested. Mean
accuracy on the queries over five seeds (200 to 204) of 20 tasks each.

UNEM is the method with its default weights and its guard, as `ilk fit --method UNEM` runs it; it
also stands there without the guard, and with weights learned on 45 uneven tasks of the other half
of the classes, with the K and K_eff of the uneven tests. PADDLE, AlphaTIM and EM-Dirichlet have
their defaults without the guard. The simplest baseline takes the means of the labelled rows and
fits class priors to the queries (Saerens et al. 2002); logistic regression uses labelled rows only.
The guard's constants were set on other data sets (see `ilk.transduction.guard`).

Embeddings: Omniglot as histograms of gradients (the first small set to train on, the second to
test), Fashion-MNIST and CIFAR-10 through MobileNetV2 (both on 128 principal axes; half of the
classes to train on, the others to test; Fashion-MNIST was not used before). ProtoTriplet with its
defaults, and the same embedding under the prototypical and under a plain triplet loss, with the
same steps, batches, seeds and choice of the strength on held-out training classes; then 5-shot
tasks with 75 queries of the other classes, by the nearest class mean; five seeds (200 to 204) of
40 tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.claims import Claim, make_table
from benchmarks.few_labels import tasks as task_sources
from benchmarks.few_labels.embeddings import compare_embeddings
from benchmarks.few_labels.tasks import (
    METRIC,
    Answer,
    TaskSource,
    add_mean_accuracies,
    draw_tasks,
    make_answer,
)
from ilk.core.contracts import Method
from ilk.core.data import Data
from ilk.core.errors import Unavailable
from ilk.methods.alpha_tim import AlphaTIM
from ilk.methods.em_dirichlet import EMDirichlet
from ilk.methods.logistic_regression import LogisticRegression
from ilk.methods.nearest_mean import NearestClassMean
from ilk.methods.paddle import PADDLE
from ilk.methods.unem import UNEM, fit_unem
from ilk.protocols import Step
from ilk.transduction.guard import estimate_proportions

SEEDS = range(200, 205)
N_LAYERS = 10

NEAREST_MEAN, FITTED_PRIORS = "nearest class mean", "nearest class mean, fitted priors"
LOGISTIC = "LogisticRegression"
UNEM_DEFAULT, UNEM_WITHOUT_GUARD = "UNEM", "UNEM, without the guard"
UNEM_UNEVEN = "UNEM, learned on uneven tasks of other classes, without the guard"
PADDLE_HEAD, ALPHA_TIM, SOFT = "PADDLE", "AlphaTIM", "EMDirichlet"
METHOD_FILES = {
    UNEM_DEFAULT: "methods/unem.py",
    UNEM_WITHOUT_GUARD: "methods/unem.py",
    PADDLE_HEAD: "methods/paddle.py",
    ALPHA_TIM: "methods/alpha_tim.py",
    SOFT: "methods/em_dirichlet.py",
}

Table = dict[str, Any]


def run(small: bool = False) -> dict[str, Any]:
    """Return all tables; `small` has digits only, two seeds and few tasks."""
    tables: list[Table] = []
    left_out: list[str] = []
    for compare, make in _list_jobs(small):
        try:
            tables += compare(make(), small)
        except Unavailable as error:
            left_out.append(f"{make.__name__}: {error}")
    return {"tables": tables, "left out": left_out}


def _list_jobs(
    small: bool,
) -> list[tuple[Callable[[TaskSource, bool], list[Table]], Callable[[], TaskSource]]]:
    if small:
        return [
            (compare_unlabelled, task_sources.load_digits),
            (compare_embeddings, task_sources.load_digits),
        ]

    unlabelled = (
        task_sources.load_digits,
        task_sources.load_letters,
        task_sources.load_usps,
        task_sources.load_fashion,
        task_sources.load_cifar,
    )
    embedded = (
        task_sources.load_omniglot,
        task_sources.load_reduced_fashion,
        task_sources.load_reduced_cifar,
    )
    return [
        *((compare_unlabelled, make) for make in unlabelled),
        *((compare_embeddings, make) for make in embedded),
    ]


def compare_unlabelled(source: TaskSource, small: bool) -> list[Table]:
    """Compare methods on uneven and even queries, with and without the unlabelled rows."""
    scores: dict[int, dict[str, list[float]]] = {source.ways: {}, source.n_classes: {}}
    for seed in SEEDS[:2] if small else SEEDS:
        base, new = source.split_classes(seed)
        answers = make_answers(learn_uneven(base, source, seed, small))
        for ways, by_method in scores.items():
            tasks = list(draw_tasks(new, source.n_classes, ways, (5 if small else 20, seed)))
            add_mean_accuracies(by_method, answers, tasks)
    pairs = [
        *((UNEM_DEFAULT, other) for other in (NEAREST_MEAN, LOGISTIC, FITTED_PRIORS)),
        *((UNEM_WITHOUT_GUARD, other) for other in (NEAREST_MEAN, PADDLE_HEAD, UNEM_UNEVEN)),
        *((name, NEAREST_MEAN) for name in (PADDLE_HEAD, ALPHA_TIM, SOFT)),
        (ALPHA_TIM, LOGISTIC),
    ]
    return [
        make_table(
            f"{source.name}, queries of {'all' if ways == source.n_classes else ways} of "
            f"{source.n_classes} classes",
            METRIC,
            by_method,
            [Claim("unem", METHOD_FILES[name], name, baseline) for name, baseline in pairs],
        )
        for ways, by_method in scores.items()
    ]


def learn_uneven(base: Data, source: TaskSource, seed: int, small: bool) -> UNEM:
    """Learn the weights of UNEM on uneven tasks of the classes that are not tested."""
    count, epochs = (10, 2) if small else (45, 10)
    tasks = list(draw_tasks(base, source.n_classes, source.ways, (count, seed + 1000)))
    likelihood = UNEM((1.0,) * N_LAYERS, (1.0,) * N_LAYERS, guard=False)
    return fit_unem(tasks, likelihood, epochs=epochs, seed=seed)


def make_answers(learned: UNEM) -> dict[str, Answer]:
    """Return all ways to predict a task, by name."""
    methods: dict[str, Method] = {
        NEAREST_MEAN: NearestClassMean(),
        LOGISTIC: LogisticRegression(),
        UNEM_DEFAULT: UNEM(),
        UNEM_WITHOUT_GUARD: UNEM(guard=False),
        UNEM_UNEVEN: learned,
        PADDLE_HEAD: PADDLE(guard=False),
        ALPHA_TIM: AlphaTIM(guard=False),
        SOFT: EMDirichlet(guard=False),
    }
    return {
        FITTED_PRIORS: predict_with_priors,
        **{name: make_answer(m) for name, m in methods.items()},
    }


def predict_with_priors(task: Step) -> NDArray[Any]:
    """Predict by the nearest class mean under the class priors most likely for the queries."""
    logits = NearestClassMean().fit(task.train).logits(task.test.x)
    return np.asarray(logits + np.log(np.maximum(estimate_proportions(logits), 1e-6)))
