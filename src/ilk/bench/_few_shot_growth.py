"""Classes that come with five rows each, after base classes with all of theirs.

One increment brings all new classes: only base prototypes calibrate, so the answers at the end are
the same in however many steps they come. Base accuracy, new accuracy and their harmonic mean are on
test rows of both, each row answered among all classes. "shuffled weights" calibrates with the same
two numbers, but each new class's mix has its weights dealt to other base classes at random.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ilk.bench._family import Claim, table
from ilk.data import Data
from ilk.methods.fine_tuning import FineTuning
from ilk.methods.nearest_mean import NearestClassMean
from ilk.methods.streaming_gda import StreamingGDA
from ilk.methods.teen import Prototypes, Teen
from ilk.metrics import softmax
from ilk.models import unit_rows
from ilk.protocols import Step, few_shot_increments
from ilk.training.continual import learn

SHOTS = 5
ROW, FILE = "teen-prototype-calibration", "methods/teen.py"
OURS, PLAIN, CONTROL = "TEEN", "uncalibrated prototypes", "shuffled weights"
RAW, RAW_PLAIN = "TEEN, not centred", "uncalibrated, not centred"
CLAIMS = (
    *(Claim(ROW, FILE, OURS, r) for r in (PLAIN, CONTROL, "nearest mean", "streaming GDA")),
    Claim(ROW, FILE, RAW, RAW_PLAIN),
)
Scores = dict[str, list[float]]


@dataclass(frozen=True)
class Draws:
    """Where TEEN is tried.

    Attributes:
        name: Of the set.
        train, test: Rows.
        base: Base classes.
        learn: Rows to learn from in each draw.
        draws: How many.
        trained: See the features through a hidden layer that learnt the base classes.
    """

    name: str
    train: Data
    test: Data
    base: int
    learn: int
    draws: int = 20
    trained: bool = False


def tables(draws: Draws) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Three tables, and what was chosen."""
    base, new, both = Scores(), Scores(), Scores()
    chosen = []
    for seed in range(draws.draws):
        rows = np.random.default_rng(seed).permutation(len(draws.train))[: draws.learn]
        size = draws.train.k - draws.base
        parts = few_shot_increments(
            draws.train.rows(rows), draws.test, draws.base, size, SHOTS, seed
        )
        steps = list(parts)
        for name, (old, fresh), model in _answers(_seen(steps) if draws.trained else steps, seed):
            base.setdefault(name, []).append(old)
            new.setdefault(name, []).append(fresh)
            both.setdefault(name, []).append(2 * old * fresh / max(old + fresh, 1e-12))
            if name == OURS:
                chosen.append((model.alpha, model.tau))
    through = ", through a hidden layer taught the base" if draws.trained else ""
    where = f"{draws.name}: {draws.base} base and {size} new 5-shot classes{through}"
    told = (
        ("accuracy on new classes", new, CLAIMS),
        ("harmonic mean of base and new accuracy", both, CLAIMS),
        ("accuracy on base classes", base, ()),
    )
    made = [table(where, metric, scores, claims) for metric, scores, claims in told]
    return made, {"where": where, "alpha": _mean(chosen, 0), "tau": _mean(chosen, 1)}


def _mean(pairs: list[tuple[float, float]], at: int) -> float:
    return float(np.mean([pair[at] for pair in pairs]))


def _answers(steps: list[Step], seed: int) -> Iterator[tuple[str, tuple[float, float], Any]]:
    """Base and new accuracy of each contender, and its model."""
    for name, method in (
        (OURS, Teen(seed=seed)),
        ("TEEN, the paper's numbers", Teen(alpha=0.5, tau=16.0)),
        (PLAIN, Teen(alpha=0.0, tau=16.0)),
        (RAW, Teen(centred=False, seed=seed)),
        (RAW_PLAIN, Teen(alpha=0.0, tau=16.0, centred=False)),
        ("nearest mean", NearestClassMean()),
        ("streaming GDA", StreamingGDA(uniform=True)),
    ):
        last = learn(method, steps)[-1]
        yield name, (last.old, last.new), last.model
        if name == OURS:
            assert isinstance(last.model, Prototypes)
            yield CONTROL, _shuffled(last.model, steps[-1], seed), None


def _shuffled(model: Prototypes, step: Step, seed: int) -> tuple[float, float]:
    """Both accuracies where each new class is moved towards a mix of other base classes."""
    unit, base = unit_rows(model.means), model.base > 0
    fresh = np.flatnonzero((model.counts > 0) & ~base)
    share = softmax(model.tau * unit[fresh] @ unit[base].T, axis=1)
    share = np.random.default_rng(seed).permuted(share, axis=1)
    both = unit.copy()
    both[fresh] = (1 - model.alpha) * unit[fresh] + model.alpha * unit_rows(share @ unit[base])
    scores = unit_rows(step.test.x - model.centre.astype(np.float64)) @ unit_rows(both).T
    right, is_new = scores.argmax(1) == step.test.y, np.isin(step.test.y, fresh)
    return float(right[~is_new].mean()), float(right[is_new].mean())


def _seen(steps: list[Step]) -> list[Step]:
    """The steps in the hidden units of a head that learnt the base classes, and no other."""
    head = FineTuning().fit(steps[0].train)

    def through(data: Data) -> Data:
        return replace(data, x=head.hidden(data.x).astype(np.float32))

    return [replace(s, train=through(s.train), test=through(s.test)) for s in steps]
