"""Heads under wrong labels: memorisation, and accuracy on clean rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from benchmarks.claims import Claim, make_table
from benchmarks.runner import summarize
from ilk.core.contracts import Model
from ilk.core.data import Data, Features
from ilk.core.linear_models import MLP
from ilk.maths.folds import assign_folds
from ilk.maths.pca import fit_pca
from ilk.methods.elr import ELR
from ilk.methods.gda import GDA
from ilk.methods.logistic_regression import LogisticRegression
from ilk.training.heads import Head, make_batch
from ilk.training.objective import LossFunction, Objective
from ilk.training.trainer import CheckpointConfig, Recipe, train

BETAS, WEIGHTS = (0.0, 0.7, 0.9), (1.0, 3.0, 7.0)
EPOCHS, N_CHECKPOINTS = ELR().epochs, 16
N_FOLDS = 7  # one of 7 folds is for validation, under its noisy labels
CE, EARLY_STOPPED, EARLY_LEARNING = (
    "cross-entropy, at the end",
    "cross-entropy, stopped early",
    "ELR",
)
FORMER = "ELR(beta=0.7, weight=1.0), the former default"
LINEAR, GAUSSIAN = "LogisticRegression", "GDA"

LabelNoise = Callable[[Data, int], Data]
Runs = dict[str, list[float]]


@dataclass(frozen=True, eq=False)
class NoisySplit:
    """Training rows with noisy and true labels, and clean test rows.

    Attributes:
        indices: Positions of the training rows in the whole data set, for labels from elsewhere.
        seed: Seed of the rows, and of noise, folds and weights.
    """

    train: Data
    test: Data
    indices: NDArray[np.int64]
    seed: int = 0


def project(split: NoisySplit, width: int) -> NoisySplit:
    """Project both parts to the first principal axes of the training rows, without labels."""
    axes = fit_pca(split.train.x, np.float32)
    basis = axes.basis[:, :width]

    def transform(x: Features) -> Features:
        return np.asarray((x - axes.centre) @ basis, np.float32)

    train, test = (replace(part, x=transform(part.x)) for part in (split.train, split.test))
    return replace(split, train=train, test=test)


@dataclass(frozen=True, eq=False)
class HeadCheckpoints:
    """Checkpoints of a head: numbers of updates, and models."""

    steps: list[int]
    models: list[MLP]


def train_with_checkpoints(
    net: Head, part: Data, objective: Objective | LossFunction, recipe: Recipe
) -> HeadCheckpoints:
    """Train a head and keep it at equal intervals; the last checkpoint is the end."""
    checkpoints = HeadCheckpoints([], [])

    def record(step: int, _loss: float, average: nn.Module) -> None:
        assert isinstance(average, Head)
        checkpoints.steps.append(step)
        checkpoints.models.append(average.to_model())

    watch = CheckpointConfig(interval=max(1, recipe.steps // N_CHECKPOINTS), on_checkpoint=record)
    train(net, make_batch(net, part), objective, recipe, checkpointing=watch)
    return checkpoints


def train_elr(method: ELR, part: Data) -> HeadCheckpoints:
    """Return checkpoints of the head of ELR (before the temperature, which moves no argmax)."""
    net = Head.from_data(part, method.hidden, method.seed)
    recipe = method.make_recipe(len(part))
    return train_with_checkpoints(net, part, method.make_objective(), recipe)


def accuracy(model: Model, data: Data) -> float:
    """Return the fraction of rows predicted as labelled."""
    return float(np.mean(model.logits(data.x).argmax(1) == data.y))


def split_validation(noisy_data: Data, seed: int) -> tuple[Data, Data]:
    """Return training rows, and validation rows under noisy labels."""
    is_held_out = assign_folds(noisy_data.y, N_FOLDS, seed) == 0
    return noisy_data.take(~is_held_out), noisy_data.take(is_held_out)


def evaluate_noise(
    setting: str,
    splits: list[NoisySplit],
    corrupt: LabelNoise,
    epochs: float = EPOCHS,
    with_plot: bool = False,
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the table and, if asked for, the curves of one noise on one data set."""
    runs: Runs = {
        name: [] for name in (CE, EARLY_STOPPED, EARLY_LEARNING, FORMER, GAUSSIAN, LINEAR)
    }
    fitted: Runs = {name: [] for name in (CE, EARLY_LEARNING, FORMER)}
    curves: dict[str, list[list[float]]] = {CE: [], EARLY_LEARNING: []}
    chosen, steps = list[list[float | None]](), [0]
    for split in splits:
        noisy = corrupt(split.train, split.seed)
        is_wrong = noisy.y != split.train.y
        method = ELR(epochs=epochs, seed=split.seed).choose(noisy)  # as `fit` does by itself
        chosen.append([method.beta, method.weight])
        plain = replace(method, beta=0.0, weight=0.0)
        final_models: dict[str, Model] = {
            CE: plain.fit(noisy),
            EARLY_STOPPED: _stop_early(plain, noisy, split.seed),
            EARLY_LEARNING: method.fit(noisy),
            FORMER: replace(method, beta=0.7, weight=1.0).fit(noisy),
            GAUSSIAN: GDA().fit(noisy),
            LINEAR: LogisticRegression().fit(noisy),
        }
        for name, model in final_models.items():
            runs[name].append(accuracy(model, split.test))
        for name, values in fitted.items():
            if is_wrong.any():
                values.append(accuracy(final_models[name], noisy.take(is_wrong)))
        if with_plot:
            for name, one in ((CE, plain), (EARLY_LEARNING, method)):
                path = train_elr(one, noisy)
                steps = path.steps
                curves[name].append([accuracy(m, noisy.take(is_wrong)) for m in path.models])
    result = make_table(setting, "accuracy on clean test rows", runs, _make_claims(runs))
    result["chosen_beta_and_weight"] = chosen
    result["wrong_labels_fitted"] = {name: summarize(v) for name, v in fitted.items() if v}
    return result, make_curve_plot(setting, steps, curves) if with_plot else None


def _stop_early(method: ELR, noisy: Data, seed: int) -> MLP:
    """Return the checkpoint that agrees most with noisy labels of rows that are held out for it."""
    part, validation = split_validation(noisy, seed)
    models = train_elr(method, part).models
    return models[int(np.argmax([accuracy(model, validation) for model in models]))]


def _make_claims(runs: Runs) -> list[Claim]:
    """Return the claims of ELR against each other method in the table."""
    file = "methods/elr.py"
    return [
        Claim("elr-early-learning", file, EARLY_LEARNING, baseline)
        for baseline in runs
        if baseline not in (EARLY_LEARNING, FORMER)
    ]


def make_curve_plot(
    setting: str, steps: list[int], fit_curves: dict[str, list[list[float]]]
) -> dict[str, Any]:
    """Plot the fraction of wrong labels fitted, with its 95 % band over seeds."""
    series = {}
    for name, seeds in fit_curves.items():
        points = []
        for step, values in zip(steps, zip(*seeds, strict=True), strict=True):
            interval = summarize(values)
            mean, half = interval["mean"] or 0.0, interval["half_width"] or 0.0
            points.append([step, mean, mean - half, mean + half])
        series[name] = points
    slug = "".join(c if c.isalnum() else "-" for c in setting.lower().replace(" %", ""))
    return {
        "file": f"wrong-labels-{'-'.join(filter(None, slug.split('-')))}.svg",
        "kind": "lines",
        "title": f"Memorised wrong labels: {setting}",
        "x": "updates",
        "y": "fraction of wrong labels that the head predicts",
        "series": series,
    }


def make_sensitivity_plot(
    setting: str, splits: list[NoisySplit], corrupt: LabelNoise, epochs: float
) -> dict[str, Any]:
    """Plot clean accuracy over beta and weight, mean over seeds."""
    accuracies = np.zeros((len(BETAS), len(WEIGHTS)))
    for split in splits:
        noisy = corrupt(split.train, split.seed)
        for i, beta in enumerate(BETAS):
            for j, weight in enumerate(WEIGHTS):
                model = ELR(beta, weight, epochs=epochs, seed=split.seed).fit(noisy)
                accuracies[i, j] += accuracy(model, split.test) / len(splits)
    return {
        "file": "wrong-labels-beta-lambda.svg",
        "kind": "heat",
        "title": f"ELR by beta and weight: {setting}",
        "x": "weight (lambda)",
        "y": "beta",
        "matrix": accuracies.round(4).tolist(),
        "rows": [str(b) for b in BETAS],
        "columns": [str(w) for w in WEIGHTS],
        "label": "accuracy on clean test rows",
        "best": "high",
        "digits": 3,
    }
