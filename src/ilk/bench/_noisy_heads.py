"""Heads under wrong labels: what they learn by heart, and what they are worth on clean rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.bench import spread
from ilk.bench._family import Claim, table
from ilk.data import Data, Features
from ilk.maths.axes import principal
from ilk.maths.folds import stratified
from ilk.methods.early_learning import EarlyLearning
from ilk.methods.gda import GDA
from ilk.methods.logistic_regression import LogisticRegression
from ilk.models import Model, Perceptron
from ilk.training.heads import Head, batch
from ilk.training.loop import Objective, Recipe, Watch, train

PAPERS = ((0.7, 3.0), (0.9, 1.0), (0.9, 7.0))  # beta and lambda of the paper's configurations
OURS = (0.7, 1.0)  # and this house's default
BETAS, WEIGHTS = (0.0, 0.7, 0.9), (1.0, 3.0, 7.0)
HIDDEN, PASSES, LOOKS = 128, 60.0, 16
SEVENTH = 7  # one row in so many is kept out, under its noisy label, for choices
CE, STOPPED, ELR = "cross-entropy, at the end", "cross-entropy, stopped early", "EarlyLearning"
LINEAR, GAUSSIAN = "LogisticRegression", "GDA"

Spoil = Callable[[Data, int], Data]
Runs = dict[str, list[float]]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows to learn from with their true labels, and clean rows to answer for.

    Attributes:
        at: Where the training rows stand in the whole set, for labels that come from elsewhere.
    """

    train: Data
    test: Data
    at: NDArray[np.int64]


def in_axes(rows: Rows, width: int) -> Rows:
    """Both parts in the first principal axes of the training rows (no label is looked at)."""
    axes = principal(rows.train.x, np.float32)
    basis = axes.basis[:, :width]

    def turned(x: Features) -> Features:
        return np.asarray((x - axes.centre) @ basis, np.float32)

    train, test = (replace(part, x=turned(part.x)) for part in (rows.train, rows.test))
    return replace(rows, train=train, test=test)


@dataclass(frozen=True, eq=False)
class Path:
    """A head on its way: updates made, and the model there."""

    steps: list[int]
    models: list[Perceptron]


def walked(part: Data, objective: Objective, recipe: Recipe, seed: int) -> Path:
    """Train a head and keep it at even distances; the last is the end."""
    path = Path([], [])

    def look(step: int, _loss: float, average: Any) -> None:
        path.steps.append(step)
        path.models.append(average.model())

    net = Head.of(part, HIDDEN, seed)
    watch = Watch(every=max(1, recipe.steps // LOOKS), look=look)
    train(net, batch(net, part), objective, recipe, watch=watch)
    return path


def elr(beta: float, weight: float, seed: int, passes: float = PASSES) -> EarlyLearning:
    """The method as it stands in the tables."""
    return EarlyLearning(beta, weight, HIDDEN, passes, seed)


def path_of(method: EarlyLearning, part: Data) -> Path:
    """Its head on the way (before the temperature, which changes no answer)."""
    recipe = method.recipe(len(part))
    return walked(part, method.objective(len(part), part.k), recipe, method.seed)


def right(model: Model, data: Data) -> float:
    """Share of rows answered with their label."""
    return float(np.mean(model.logits(data.x).argmax(1) == data.y))


def parted(noisy: Data, seed: int) -> tuple[Data, Data]:
    """What heads learn from, and rows under noisy labels that choices are made on."""
    held = stratified(noisy.y, SEVENTH, seed) == 0
    return noisy.rows(~held), noisy.rows(held)


def condition(
    where: str, cuts: list[Rows], spoil: Spoil, passes: float = PASSES
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The table of one noise on one set, a seed for each cut; and what was fitted on the way."""
    runs: Runs = {name: [] for name in (CE, STOPPED, ELR, GAUSSIAN, LINEAR)}
    fitted: dict[str, list[list[float]]] = {CE: [], ELR: []}
    chosen, steps = (0.0, 0.0), [0]
    for seed, rows in enumerate(cuts):
        noisy = spoil(rows.train, seed)
        part, held = parted(noisy, seed)
        if not seed:
            chosen = _chosen(part, held, passes)
        plain = path_of(elr(0.0, 0.0, seed, passes), part)
        ours = path_of(elr(*chosen, seed, passes), part)
        best = plain.models[int(np.argmax([right(m, held) for m in plain.models]))]
        steps = plain.steps
        ends: dict[str, Model] = {CE: plain.models[-1], STOPPED: best, ELR: ours.models[-1]}
        ends |= {GAUSSIAN: GDA().fit(noisy), LINEAR: LogisticRegression().fit(noisy)}
        for name, model in ends.items():
            runs[name].append(right(model, rows.test))
        wrong = part.rows(part.y != _true(rows.train, noisy, seed).y)
        for name, path in ((CE, plain), (ELR, ours)):
            fitted[name].append([right(m, wrong) for m in path.models])
    told = table(where, "accuracy on clean test rows", runs, _claims(runs))
    told["beta"], told["weight"] = chosen
    told["wrong_labels_fitted"] = {n: spread([r[-1] for r in v]) for n, v in fitted.items()}
    return told, curve(where, steps, fitted)


def _true(clean: Data, noisy: Data, seed: int) -> Data:
    """The rows that heads learn from under their true labels."""
    return clean.rows(stratified(noisy.y, SEVENTH, seed) != 0)


def _chosen(part: Data, held: Data, passes: float) -> tuple[float, float]:
    """The configuration whose end agrees most with noisy labels that it did not see."""
    tried = (*PAPERS, OURS)
    ends = [path_of(elr(*one, 0, passes), part).models[-1] for one in tried]
    return tried[int(np.argmax([right(model, held) for model in ends]))]


def _claims(runs: Runs) -> list[Claim]:
    """Early learning against each contender in the table."""
    file = "methods/early_learning.py"
    return [Claim("elr-early-learning", file, ELR, other) for other in runs if other != ELR]


def curve(where: str, steps: list[int], fitted: dict[str, list[list[float]]]) -> dict[str, Any]:
    """A plot of the share of wrong labels fitted, with its 95 % band over seeds."""
    series = {}
    for name, seeds in fitted.items():
        line = []
        for step, values in zip(steps, zip(*seeds, strict=True), strict=True):
            told = spread(values)
            middle, half = told["mean"] or 0.0, told["half_width"] or 0.0
            line.append([step, middle, middle - half, middle + half])
        series[name] = line
    slug = "".join(c if c.isalnum() else "-" for c in where.lower().replace(" %", ""))
    return {
        "file": f"wrong-labels-{'-'.join(filter(None, slug.split('-')))}.svg",
        "kind": "lines",
        "title": f"Wrong labels learnt by heart: {where}",
        "x": "updates",
        "y": "share of wrong labels that the head answers with",
        "series": series,
    }


def sensitivity(where: str, cuts: list[Rows], spoil: Spoil, passes: float) -> dict[str, Any]:
    """A heat map of clean accuracy over beta and weight, mean over seeds."""
    cells = np.zeros((len(BETAS), len(WEIGHTS)))
    for seed, rows in enumerate(cuts):
        part, _ = parted(spoil(rows.train, seed), seed)
        for i, beta in enumerate(BETAS):
            for j, weight in enumerate(WEIGHTS):
                end = path_of(elr(beta, weight, seed, passes), part).models[-1]
                cells[i, j] += right(end, rows.test) / len(cuts)
    return {
        "file": "wrong-labels-beta-lambda.svg",
        "kind": "heat",
        "title": f"EarlyLearning by beta and weight: {where}",
        "x": "weight (lambda)",
        "y": "beta",
        "matrix": cells.round(4).tolist(),
        "rows": [str(b) for b in BETAS],
        "columns": [str(w) for w in WEIGHTS],
        "label": "accuracy on clean test rows",
        "best": "high",
        "digits": 3,
    }
