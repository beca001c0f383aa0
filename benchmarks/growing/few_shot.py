"""Classes that arrive with five rows each, after base classes with all of theirs.

One increment adds all new classes: only base prototypes calibrate, so the final predictions do not
depend on the number of increments. Base accuracy, new accuracy and their harmonic mean are on test
rows of both, each row classified among all classes. "shuffled weights" calibrates with the same two
hyperparameters, but the weights of each new class are shuffled among the base classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.claims import Claim, make_table
from ilk.core.data import Data
from ilk.core.linear_models import normalize_rows
from ilk.core.metrics import softmax
from ilk.methods.fine_tuning import FineTuning
from ilk.methods.nearest_mean import NearestClassMean
from ilk.methods.streaming_gda import StreamingGDA
from ilk.methods.teen import TEEN, CalibratedPrototypes
from ilk.protocols import Step, few_shot_increments
from ilk.training.continual import run_steps

SHOTS, FIRST_SEED = 5, 100
ENTRY, FILE = "teen-prototype-calibration", "methods/teen.py"
OURS, UNCALIBRATED, CONTROL = "TEEN", "uncalibrated prototypes", "shuffled weights"
UNCENTRED, UNCENTRED_UNCALIBRATED = "TEEN, not centred", "uncalibrated, not centred"
CLAIMS = (
    *(
        Claim(ENTRY, FILE, OURS, r)
        for r in (UNCALIBRATED, CONTROL, "nearest class mean", "streaming GDA")
    ),
    Claim(ENTRY, FILE, UNCENTRED, UNCENTRED_UNCALIBRATED),
)
Scores = dict[str, list[float]]


@dataclass(frozen=True)
class IncrementSetup:
    """A data set and the shape of its increments.

    Attributes:
        name: Name of the data set.
        train, test: Rows.
        n_base: Number of base classes.
        n_train: Training rows of each draw.
        n_draws: Number of draws.
        has_hidden_layer: Use the hidden units of a head trained on the base classes.
    """

    name: str
    train: Data
    test: Data
    n_base: int
    n_train: int
    n_draws: int = 10
    has_hidden_layer: bool = False


def make_tables(setup: IncrementSetup) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return three tables, and the selected hyperparameters."""
    base, new, harmonic = Scores(), Scores(), Scores()
    parameters = []
    for seed in range(FIRST_SEED, FIRST_SEED + setup.n_draws):
        rows = np.random.default_rng(seed).permutation(len(setup.train))[: setup.n_train]
        size = setup.train.k - setup.n_base
        increments = few_shot_increments(
            setup.train.take(rows), setup.test, setup.n_base, size, SHOTS, seed
        )
        steps = list(increments)
        for name, (base_accuracy, new_accuracy), model in _evaluate_methods(
            _embed_steps(steps) if setup.has_hidden_layer else steps, seed
        ):
            base.setdefault(name, []).append(base_accuracy)
            new.setdefault(name, []).append(new_accuracy)
            harmonic.setdefault(name, []).append(
                2 * base_accuracy * new_accuracy / max(base_accuracy + new_accuracy, 1e-12)
            )
            if name == OURS:
                parameters.append((model.alpha, model.tau))
    suffix = ", hidden layer trained on the base" if setup.has_hidden_layer else ""
    setting = f"{setup.name}: {setup.n_base} base and {size} new 5-shot classes{suffix}"
    measures = (
        ("accuracy on new classes", new, CLAIMS),
        ("harmonic mean of base and new accuracy", harmonic, CLAIMS),
        ("accuracy on base classes", base, ()),
    )
    result_tables = [
        make_table(setting, metric, scores, claims) for metric, scores, claims in measures
    ]
    return result_tables, {
        "setting": setting,
        "alpha": _mean(parameters, 0),
        "tau": _mean(parameters, 1),
    }


def _mean(pairs: list[tuple[float, float]], position: int) -> float:
    return float(np.mean([pair[position] for pair in pairs]))


def _evaluate_methods(
    steps: list[Step], seed: int
) -> Iterator[tuple[str, tuple[float, float], Any]]:
    """Yield base and new accuracy of each method, and its model."""
    for name, method in (
        (OURS, TEEN(seed=seed)),
        ("TEEN, the paper's hyperparameters", TEEN(alpha=0.5, tau=16.0)),
        (UNCALIBRATED, TEEN(alpha=0.0, tau=16.0)),
        (UNCENTRED, TEEN(centre_features=False, seed=seed)),
        (UNCENTRED_UNCALIBRATED, TEEN(alpha=0.0, tau=16.0, centre_features=False)),
        ("nearest class mean", NearestClassMean()),
        ("streaming GDA", StreamingGDA(uniform=True)),
    ):
        last = run_steps(method, steps)[-1]
        yield name, (last.old_accuracy, last.new_accuracy), last.model
        if name == OURS:
            assert isinstance(last.model, CalibratedPrototypes)
            yield CONTROL, _evaluate_shuffled(last.model, steps[-1], seed), None


def _evaluate_shuffled(model: CalibratedPrototypes, step: Step, seed: int) -> tuple[float, float]:
    """Return both accuracies when each new class moves towards a mix of wrong base classes."""
    unit, base = normalize_rows(model.means), model.is_base > 0
    new_classes = np.flatnonzero((model.counts > 0) & ~base)
    weights = softmax(model.tau * unit[new_classes] @ unit[base].T, axis=1)
    weights = np.random.default_rng(seed).permuted(weights, axis=1)
    prototypes = unit.copy()
    prototypes[new_classes] = (1 - model.alpha) * unit[new_classes] + model.alpha * normalize_rows(
        weights @ unit[base]
    )
    scores = (
        normalize_rows(step.test.x - model.centre.astype(np.float64)) @ normalize_rows(prototypes).T
    )
    is_correct, is_new = scores.argmax(1) == step.test.y, np.isin(step.test.y, new_classes)
    return float(is_correct[~is_new].mean()), float(is_correct[is_new].mean())


def _embed_steps(steps: list[Step]) -> list[Step]:
    """Return the steps in the hidden units of a head trained on the base classes only."""
    head = FineTuning().fit(steps[0].train)

    def embed(data: Data) -> Data:
        return replace(data, x=head.compute_hidden(data.x).astype(np.float32))

    return [replace(s, train=embed(s.train), test=embed(s.test)) for s in steps]
