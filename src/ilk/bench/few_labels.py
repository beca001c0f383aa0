"""Do rows without a label help where few have one, and does an embedding of other classes?

Tasks: 4 labelled rows of each of K classes, and 75 queries without a label that come from K_eff of
them (uneven) or from all (even). Sets: scikit-learn's digits, Fashion-MNIST pixels and CIFAR-10
through MobileNetV2 (K 5, K_eff 2), UCI letters (13, 4), Omniglot as histograms of gradients and as
pixels (20, 5). Half of the classes, drawn by the seed, serve to choose hyperparameters, the others
to test (Omniglot: small set 1 and 2). Five seeds of 40 tasks each: mean accuracy on the queries.

EM on a grid takes the balance and sharpness that answer 20 tasks of the first classes best; UNEM
learns its layers on 100 such tasks, both with the same K and K_eff as uneven tests have, and both
are used as they are on even ones. Everything else has its default, with the guard off but where a
name says that it is on. The simplest rival keeps the means of the labelled rows and fits class
shares to the queries (Saerens et al. 2002); logistic regression sees labelled rows alone. A sweep
of K_eff on Omniglot compares what is learnt for 5 classes with what is learnt where K_eff is known.
The guard's constants were set on other sets (see `ilk.unlabelled.guarded`).

Names alone: 75 rows of 2 or of all 10 digits, none with a label, and the names, as a small model of
images and sentences reads them (trained on MNIST, see `ilk.bench._sentences`); USPS it never saw.
EM-Dirichlet with the weight of maximum likelihood, and told K / K_eff as in the paper, which nobody
can know beforehand. Five seeds (100 to 104; 0 and 1 were looked at before) of 40 tasks.

Embeddings: 64 rectified units on Omniglot gradients, MNIST pixels and CIFAR-10 features, trained on
the first classes by each loss with the same steps, batches and seeds, margins and weights 1; then
5-shot tasks with 75 queries of the other classes, by the nearest class mean; five seeds of 60.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.bench import _few_sets
from ilk.bench._family import Claim, table
from ilk.bench._few_embeddings import embedded
from ilk.bench._few_names import named
from ilk.bench._few_sets import METRIC, Answer, World, accuracy, answered, collect, cut
from ilk.data import Data
from ilk.errors import Unavailable
from ilk.methods.alpha_tim import AlphaTIM
from ilk.methods.em_dirichlet import EMDirichlet
from ilk.methods.logistic_regression import LogisticRegression
from ilk.methods.nearest_mean import NearestClassMean
from ilk.methods.paddle import Paddle
from ilk.methods.unem import UNEM, learned
from ilk.models import Method
from ilk.protocols import Step
from ilk.unlabelled.guarded import shares

SEEDS = 5
BALANCES, SHARPNESSES = (0.5, 1.0, 2.0, 4.0), (1.0, 2.0, 4.0)
SWEEP = (2, 20)  # of K_eff, beside the 5 of the table of Omniglot

MEAN, SHARES = "nearest class mean", "nearest class mean, shares fitted"
LOGISTIC = "LogisticRegression"
FIXED, GRID, LEARNT = "Paddle, fixed", "EM, grid on other classes", "UNEM, learnt on other classes"
TIM, SOFT, HARD = "AlphaTIM", "EMDirichlet", "EMDirichlet, hard"
GUARDS = (GUARDED, FIXED_GUARDED, TIM_GUARDED) = (
    "UNEM, guarded",
    "Paddle, guarded",
    "AlphaTIM, guarded",
)
KNOWN, KNOWN_GRID = "UNEM, learnt for this K_eff", "EM, grid for this K_eff"
HOME = {
    LEARNT: "methods/unem.py",
    KNOWN: "methods/unem.py",
    GUARDED: "methods/unem.py",
    FIXED: "methods/paddle.py",
    FIXED_GUARDED: "methods/paddle.py",
    TIM: "methods/alpha_tim.py",
    TIM_GUARDED: "methods/alpha_tim.py",
    SOFT: "methods/em_dirichlet.py",
    HARD: "methods/em_dirichlet.py",
}

Table = dict[str, Any]


def run(small: bool = False) -> dict[str, Any]:
    """All tables; `small` has digits alone, two seeds and few tasks."""
    tables: list[Table] = []
    left_out: list[str] = []
    for kind, make in _jobs(small):
        try:
            tables += kind(make(), small)
        except Unavailable as error:
            left_out.append(f"{make.__name__}: {error}")
    if not small:
        try:
            tables += named()
        except Unavailable as error:
            left_out.append(f"names alone: {error}")
    return {"tables": tables, "left out": left_out}


def _jobs(small: bool) -> list[tuple[Callable[[World, bool], list[Table]], Callable[[], World]]]:
    if small:
        return [(unlabelled, _few_sets.digits), (embedded, _few_sets.digits)]

    def omniglot_pixels() -> World:
        return _few_sets.omniglot(pixels=True)

    worlds = (_few_sets.digits, _few_sets.letters, _few_sets.fashion, _few_sets.cifar)
    return [
        *((unlabelled, make) for make in (*worlds, _few_sets.omniglot, omniglot_pixels)),
        (swept, _few_sets.omniglot),
        *((embedded, make) for make in (_few_sets.omniglot, _few_sets.mnist, _few_sets.cifar)),
    ]


def unlabelled(world: World, small: bool) -> list[Table]:
    """Uneven and even queries: with and without the rows that have no label."""
    uneven: dict[str, list[float]] = {}
    even: dict[str, list[float]] = {}
    for seed in range(2 if small else SEEDS):
        base, new = world.parts(seed)
        chosen = choose(base, world, seed, small)
        for scores, ways in ((uneven, world.ways), (even, world.among)):
            tasks = list(cut(new, world.among, ways, (5 if small else 40, seed)))
            collect(scores, contenders(chosen), tasks)
    rivals = [(LEARNT, against) for against in (MEAN, FIXED, GRID, SHARES, TIM)]
    guards = [(guard, MEAN) for guard in GUARDS]
    plain = [*((name, MEAN) for name in (FIXED, TIM, SOFT, HARD)), (TIM, LOGISTIC)]
    where = f"{world.name}, queries of {{}} of {world.among} classes"
    return [
        table(where.format(world.ways), METRIC, uneven, _claims([*rivals, *plain, *guards])),
        table(where.format("all"), METRIC, even, _claims([(LEARNT, MEAN), *plain, *guards])),
    ]


def swept(world: World, small: bool) -> list[Table]:
    """What is learnt for one K_eff on others, beside what is learnt for each."""
    scores: dict[int, dict[str, list[float]]] = {ways: {} for ways in SWEEP}
    for seed in range(SEEDS):
        base, new = world.parts(seed)
        one = choose(base, world, seed, small)[LEARNT]
        for ways in SWEEP:
            known = choose(base, replace(world, ways=ways), seed, small)
            tasks = list(cut(new, world.among, ways, (40, seed)))
            ways_to: dict[str, Method] = {
                MEAN: NearestClassMean(),
                FIXED: Paddle(guard=False),
                LEARNT: one,
            }
            ways_to |= {KNOWN_GRID: known[GRID], KNOWN: known[LEARNT]}
            collect(scores[ways], {name: answered(m) for name, m in ways_to.items()}, tasks)
    pairs = [(KNOWN, LEARNT), (KNOWN, KNOWN_GRID), (KNOWN, MEAN), (LEARNT, MEAN)]
    where = f"{world.name}, queries of {{}} of {world.among} classes; learnt for {world.ways}"
    return [table(where.format(w), METRIC, scores[w], _claims(pairs)) for w in SWEEP]


def choose(base: Data, world: World, seed: int, small: bool) -> dict[str, UNEM]:
    """EM by a grid, and UNEM as learnt, on tasks of the classes that nothing is tested on."""
    tasks = list(cut(base, world.among, world.ways, (10 if small else 100, seed + 1000)))
    grid = [
        UNEM((balance,) * 10, (sharp,) * 10, guard=False)
        for balance, sharp in product(BALANCES, SHARPNESSES)
    ]
    right = [np.mean([accuracy(answered(m), task) for task in tasks[:20]]) for m in grid]
    epochs = 2 if small else 10
    return {
        GRID: grid[int(np.argmax(right))],
        LEARNT: learned(tasks, UNEM(guard=False), epochs=epochs, seed=seed),
    }


def contenders(chosen: Mapping[str, UNEM]) -> dict[str, Answer]:
    """All ways to answer for a task, by name."""
    methods: dict[str, Method] = {
        MEAN: NearestClassMean(),
        LOGISTIC: LogisticRegression(),
        FIXED: Paddle(guard=False),
        **chosen,
        TIM: AlphaTIM(guard=False),
        SOFT: EMDirichlet(guard=False),
        HARD: EMDirichlet(hard=True, guard=False),
        GUARDED: replace(chosen[LEARNT], guard=True),
        FIXED_GUARDED: Paddle(),
        TIM_GUARDED: AlphaTIM(),
    }
    return {SHARES: with_shares, **{name: answered(m) for name, m in methods.items()}}


def with_shares(task: Step) -> NDArray[Any]:
    """The nearest class mean, with the class shares under which the queries are likeliest."""
    logits = NearestClassMean().fit(task.train).logits(task.test.x)
    return np.asarray(logits + np.log(np.maximum(shares(logits), 1e-6)))


def _claims(pairs: Sequence[tuple[str, str]]) -> list[Claim]:
    return [Claim("unem", HOME[name], name, against) for name, against in pairs]
