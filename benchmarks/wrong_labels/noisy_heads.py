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

PAPER_CONFIGS = (
    (0.7, 3.0),
    (0.9, 1.0),
    (0.9, 7.0),
)  # beta and lambda of the paper's configurations
DEFAULT_CONFIG = (0.7, 1.0)  # and the default of ELR
BETAS, WEIGHTS = (0.0, 0.7, 0.9), (1.0, 3.0, 7.0)
HIDDEN, EPOCHS, N_CHECKPOINTS = 128, 60.0, 16
N_FOLDS = 7  # one of 7 folds is for validation, under its noisy labels
CE, EARLY_STOPPED, EARLY_LEARNING = (
    "cross-entropy, at the end",
    "cross-entropy, stopped early",
    "ELR",
)
LINEAR, GAUSSIAN = "LogisticRegression", "GDA"

LabelNoise = Callable[[Data, int], Data]
Runs = dict[str, list[float]]


@dataclass(frozen=True, eq=False)
class NoisySplit:
    """Training rows with noisy and true labels, and clean test rows.

    Attributes:
        indices: Positions of the training rows in the whole data set, for labels from elsewhere.
    """

    train: Data
    test: Data
    indices: NDArray[np.int64]


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
    part: Data, objective: Objective | LossFunction, recipe: Recipe, seed: int
) -> HeadCheckpoints:
    """Train a head and keep it at equal intervals; the last checkpoint is the end."""
    checkpoints = HeadCheckpoints([], [])

    def record(step: int, _loss: float, average: nn.Module) -> None:
        assert isinstance(average, Head)
        checkpoints.steps.append(step)
        checkpoints.models.append(average.to_model())

    net = Head.from_data(part, HIDDEN, seed)
    watch = CheckpointConfig(interval=max(1, recipe.steps // N_CHECKPOINTS), on_checkpoint=record)
    train(net, make_batch(net, part), objective, recipe, checkpointing=watch)
    return checkpoints


def make_elr(beta: float, weight: float, seed: int, epochs: float = EPOCHS) -> ELR:
    """Return ELR as evaluated in the tables."""
    return ELR(beta, weight, HIDDEN, epochs, seed)


def train_elr(method: ELR, part: Data) -> HeadCheckpoints:
    """Return checkpoints of the head of ELR (before the temperature, which moves no argmax)."""
    recipe = method.make_recipe(len(part))
    return train_with_checkpoints(part, method.make_objective(), recipe, method.seed)


def accuracy(model: Model, data: Data) -> float:
    """Return the fraction of rows predicted as labelled."""
    return float(np.mean(model.logits(data.x).argmax(1) == data.y))


def split_validation(noisy_data: Data, seed: int) -> tuple[Data, Data]:
    """Return training rows, and validation rows under noisy labels."""
    is_held_out = assign_folds(noisy_data.y, N_FOLDS, seed) == 0
    return noisy_data.take(~is_held_out), noisy_data.take(is_held_out)


def evaluate_noise(
    setting: str, splits: list[NoisySplit], corrupt: LabelNoise, epochs: float = EPOCHS
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the table and the curves of one noise on one data set, one seed per split."""
    runs: Runs = {name: [] for name in (CE, EARLY_STOPPED, EARLY_LEARNING, GAUSSIAN, LINEAR)}
    fit_curves: dict[str, list[list[float]]] = {CE: [], EARLY_LEARNING: []}
    config, steps = (0.0, 0.0), [0]
    for seed, split in enumerate(splits):
        noisy = corrupt(split.train, seed)
        part, validation = split_validation(noisy, seed)
        if not seed:
            config = _select_config(part, validation, epochs)
        ce_path = train_elr(make_elr(0.0, 0.0, seed, epochs), part)
        elr_path = train_elr(make_elr(*config, seed, epochs), part)
        best = ce_path.models[int(np.argmax([accuracy(m, validation) for m in ce_path.models]))]
        steps = ce_path.steps
        final_models: dict[str, Model] = {
            CE: ce_path.models[-1],
            EARLY_STOPPED: best,
            EARLY_LEARNING: elr_path.models[-1],
        }
        final_models |= {GAUSSIAN: GDA().fit(noisy), LINEAR: LogisticRegression().fit(noisy)}
        for name, model in final_models.items():
            runs[name].append(accuracy(model, split.test))
        mislabelled = part.take(part.y != _restore_labels(split.train, noisy, seed).y)
        for name, path in ((CE, ce_path), (EARLY_LEARNING, elr_path)):
            fit_curves[name].append([accuracy(m, mislabelled) for m in path.models])
    result = make_table(setting, "accuracy on clean test rows", runs, _make_claims(runs))
    result["beta"], result["weight"] = config
    result["wrong_labels_fitted"] = {
        n: summarize([r[-1] for r in v]) for n, v in fit_curves.items()
    }
    return result, make_curve_plot(setting, steps, fit_curves)


def _restore_labels(clean: Data, noisy: Data, seed: int) -> Data:
    """Return the training rows with their true labels."""
    return clean.take(assign_folds(noisy.y, N_FOLDS, seed) != 0)


def _select_config(part: Data, validation: Data, epochs: float) -> tuple[float, float]:
    """Return the configuration that agrees most with held-out noisy labels."""
    configs = (*PAPER_CONFIGS, DEFAULT_CONFIG)
    models = [train_elr(make_elr(*config, 0, epochs), part).models[-1] for config in configs]
    return configs[int(np.argmax([accuracy(model, validation) for model in models]))]


def _make_claims(runs: Runs) -> list[Claim]:
    """Return the claims of ELR against each other method in the table."""
    file = "methods/elr.py"
    return [
        Claim("elr-early-learning", file, EARLY_LEARNING, baseline)
        for baseline in runs
        if baseline != EARLY_LEARNING
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
    for seed, split in enumerate(splits):
        part, _ = split_validation(corrupt(split.train, seed), seed)
        for i, beta in enumerate(BETAS):
            for j, weight in enumerate(WEIGHTS):
                model = train_elr(make_elr(beta, weight, seed, epochs), part).models[-1]
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
