"""How fast a head learns under M dropout masks an update, and where it ends."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ilk.bench import _sets, spread
from ilk.bench._family import Claim, table
from ilk.bench._long_tails import Cut, reduced
from ilk.methods.multi_sample_dropout import MultiSampleDropout
from ilk.training.heads import Head, batch, cross_entropy
from ilk.training.loop import Batch, Objective, Recipe, Watch, train

FILE, ROW = "methods/multi_sample_dropout.py", "multi-sample-dropout"
MANY = 8
MASKS: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
RATES: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7)
PILOT = 100  # the seed that chooses
LEAST = 1e-4  # nats, the lowest that a picture shows
ROWS, HELD, ANSWERED = 2000, 1000, 5000
TITLE = {"digits": "digits", "mnist": "MNIST pixels", "cifar": "CIFAR-10 through MobileNetV2"}


@dataclass(frozen=True, eq=False)
class Told:
    """What a set came to."""

    tables: list[dict[str, Any]]
    plots: list[dict[str, Any]]
    rates: dict[str, float]


@dataclass(frozen=True, eq=False)
class Course:
    """One run: the loss on the training rows without dropout after so many updates.

    Attributes:
        updates: `[looks]`.
        losses: `[looks]`, nats.
        seconds: Of the processor in training alone, up to each look, `[looks]`.
        error: Share of test rows answered wrongly at the end.
    """

    updates: NDArray[np.int64]
    losses: NDArray[np.float64]
    seconds: NDArray[np.float64]
    error: float

    def first(self, level: float) -> int:
        """The first look at which the loss is at most `level`, or the last look."""
        below = np.flatnonzero(self.losses <= level)
        return int(below[0]) if len(below) else len(self.losses) - 1


def of_set(name: str, small: bool = False) -> Told:
    """All M on one set."""
    masks, rates = (MASKS, RATES) if not small else ((1, MANY), RATES[1:3])
    seeds, recipe, every = 5, Recipe(300, 128, 4e-3, 20), 10
    if small:
        seeds, recipe, every = 2, Recipe(40, 64, 4e-3, 5), 5
    chosen = {m: _rate(name, m, rates, recipe, every) for m in (1, MANY)}
    level = _half_way(name, chosen[1], recipe, every)
    runs: dict[str, list[Course]] = {}
    for seed in range(seeds):
        cut, own = drawn(name, seed), replace(recipe, seed=seed)
        for m in masks:
            method = MultiSampleDropout(m, chosen[1 if m == 1 else MANY], seed=seed)
            who = f"M = {m}"
            runs.setdefault(who, []).append(course(cut, method.objective, own, every))
        copies = repeated(MultiSampleDropout(1, chosen[MANY], seed=seed), MANY)
        runs.setdefault(COPIES, []).append(course(cut, copies, own, every))
        alike = MultiSampleDropout(1, chosen[MANY], seed=seed).objective
        runs.setdefault(ALIKE, []).append(course(cut, alike, own, every))
        lower = MultiSampleDropout(1, min(rates), seed=seed).objective
        runs.setdefault(f"M = 1, rate {min(rates)}", []).append(course(cut, lower, own, every))
        plain = course(cut, cross_entropy, own, every)
        runs.setdefault("no dropout", []).append(plain)
    told = {"M = 1": chosen[1], "M = 8": chosen[MANY], "loss to reach": level}
    return Told(tables(TITLE[name], runs, level), plots(name, runs), told)


COPIES = f"M = 1, rows {MANY} times"
ALIKE = f"M = 1 at the rate of M = {MANY}"


def tables(where: str, runs: Mapping[str, list[Course]], level: float) -> list[dict[str, Any]]:
    """Updates and seconds to the level, seconds an update, and the error at the end."""
    ours = f"M = {MANY}"
    others = ("M = 1", ALIKE, COPIES)

    def one(metric: str, of: Any, against: tuple[str, ...] = others) -> dict[str, Any]:
        scores = {name: [float(of(c)) for c in held] for name, held in runs.items()}
        claims = [Claim(ROW, FILE, ours, other) for other in against]
        return table(where, metric, scores, claims, better="lower")

    return [
        one("updates to the set training loss", lambda c: c.updates[c.first(level)]),
        one("processor seconds to the set training loss", lambda c: c.seconds[c.first(level)]),
        one("processor milliseconds an update", lambda c: 1000 * c.seconds[-1] / c.updates[-1]),
        one("test error at the end", lambda c: c.error, (*others, "no dropout")),
    ]


def plots(name: str, runs: Mapping[str, list[Course]]) -> list[dict[str, Any]]:
    """The loss against updates and against seconds, mean and interval over seeds."""
    made = []
    for file, x in (("updates", "updates"), ("seconds", "processor seconds of training")):
        series = {}
        for who, held in runs.items():
            losses = np.array([c.losses for c in held])
            at = np.mean([getattr(c, file) for c in held], axis=0)
            series[who] = [_point(float(a), column) for a, column in zip(at, losses.T, strict=True)]
        told = {"kind": "lines", "title": f"Loss on the training rows, {TITLE[name]}", "x": x}
        told["file"] = f"multi-sample-dropout-{name}-{file}.svg"
        made.append({**told, "y": "nats, without dropout", "series": series, "log_y": True})
    return made


def _point(at: float, losses: NDArray[np.float64]) -> list[float]:
    """Where it lies, the mean over seeds and the ends of its interval, kept above 0 for the log."""
    told = spread(losses.tolist())
    mean, half = told["mean"] or 0.0, told["half_width"] or 0.0
    return [at, max(mean, LEAST), max(mean - half, LEAST), max(mean + half, LEAST)]


def repeated(method: MultiSampleDropout, times: int) -> Objective:
    """The objective of `method` on every row so many times."""

    def objective(network: nn.Module, part: Batch, generator: torch.Generator) -> Tensor:
        copies = Batch(part.x.repeat(times, 1), part.y.repeat(times))
        return method.objective(network, copies, generator)

    return objective


def course(cut: Cut, objective: Objective, recipe: Recipe, every: int) -> Course:
    """Train a head, looking at its loss every so many updates; looking is not timed."""
    net = Head.of(cut.train, MultiSampleDropout().hidden, recipe.seed)
    rows = batch(net, cut.train)
    seen: list[tuple[int, float, float]] = []
    left = time.process_time()
    spent = 0.0

    def look(step: int, _loss: float, average: nn.Module) -> None:
        nonlocal left, spent
        spent += time.process_time() - left
        with torch.inference_mode():
            loss = float(cross_entropy(average, rows, torch.Generator()))
        seen.append((step, loss, spent))
        left = time.process_time()

    trained = train(net, rows, objective, recipe, watch=Watch(every=every, look=look))
    assert isinstance(trained, Head)
    answer = trained.model().logits(cut.test.x).argmax(1)
    updates, losses, seconds = (np.array(part) for part in zip(*seen, strict=True))
    return Course(updates, losses, seconds, float(np.mean(answer != cut.test.y)))


def drawn(name: str, seed: int, *, held: bool = False) -> Cut:
    """Rows to learn from and the test rows; with `held`, other training rows in their place."""
    rng = np.random.default_rng(seed)
    if name == "digits":
        data = _sets.digits()
        order = rng.permutation(len(data))
        rows, rest = data.rows(order[:600]), data.rows(order[1000:])
        return Cut(rows, data.rows(order[600:1000]) if held else rest)
    read = _sets.mnist if name == "mnist" else _sets.cifar
    pool = read("train")
    order = rng.permutation(len(pool))
    test = pool.rows(order[ROWS : ROWS + HELD]) if held else read("test")
    if not held:
        test = test.rows(rng.permutation(len(test))[:ANSWERED])
    return reduced(Cut(pool.rows(order[:ROWS]), test), seed)


def _rate(name: str, m: int, rates: tuple[float, ...], recipe: Recipe, every: int) -> float:
    """The rate of the least error on rows held out of the training part."""
    cut, own = drawn(name, PILOT, held=True), replace(recipe, seed=PILOT)
    errors = [
        course(cut, MultiSampleDropout(m, rate, seed=PILOT).objective, own, every).error
        for rate in rates
    ]
    return rates[int(np.argmin(errors))]


def _half_way(name: str, rate: float, recipe: Recipe, every: int) -> float:
    """The training loss of M = 1 after half of its updates, by the seed that chooses."""
    method, own = MultiSampleDropout(1, rate, seed=PILOT), replace(recipe, seed=PILOT)
    held = course(drawn(name, PILOT, held=True), method.objective, own, every)
    return float(held.losses[len(held.losses) // 2 - 1])
