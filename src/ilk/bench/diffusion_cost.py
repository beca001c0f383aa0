"""The diffusion classifier: what does an answer cost, and what does it buy?

Accuracy on test images against calls of the network an image: all classes at the first 1 to 64 of
evenly spread levels; the paper's two-stage pruning (50 levels, five classes kept, 500 levels);
ours, a race over learnt levels that stops a class once it has lost, at three error rates; and one
noise, random or optimised on 8 images a class, beside no noise at all with its level told all the
same. Level weights, races and noises are learnt from images that neither the network nor the test
has: a quarter of the training part of digits (seeds 0 to 2), 2,000 images kept out of Fashion-MNIST
(one network, one seed). 300 test images of digits are judged, and 100 of Fashion-MNIST, which tells
points and not tenths of them; single noises on 200 and 100. Seconds are of one process on a machine
that had other work, and compare only roughly. Finished parts are kept and not measured again, so
the seconds in all are those of the last command.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from ilk.bench import spread
from ilk.bench._diffusion import (
    Pictures,
    clean,
    digits,
    digits_plan,
    fashion,
    fashion_plan,
    first,
    kept,
    pretrained,
)
from ilk.diffusion.classify import Measure, errors, scores
from ilk.diffusion.denoiser import Denoiser
from ilk.diffusion.levels import Levels
from ilk.diffusion.pretrain import Plan
from ilk.diffusion.race import Race
from ilk.diffusion.single_noise import best_sigma, single_noise_accuracy
from ilk.diffusion.staged import Staged
from ilk.diffusion.strategy import Strategy
from ilk.diffusion.trial import Trial
from ilk.diffusion.tuning import RELEASED, Tuning, optimise
from ilk.errors import Unavailable
from ilk.training.loop import Batch

SEEDS = (0, 1, 2)
COUNTS = (1, 2, 4, 8, 16, 32, 64)
RATES = (0.004, 0.01, 0.05)
NOISES, SHOTS, IMAGES = 50, 8, 300
HELD, TOLD = 400, 200  # images that levels and races learn from; that single noises are judged on

MEASURE = Measure(batch=512, precision="bfloat16")

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Case:
    """A network, a seed of its noise, and how many test images are judged (0: all)."""

    pictures: Pictures
    plan: Plan
    name: str
    seed: int
    images: int = 0

    @cached_property
    def network(self) -> Denoiser:
        return pretrained(self.pictures, self.plan, self.name)

    @cached_property
    def test(self) -> Batch:
        return first(self.pictures.test, self.images) if self.images else self.pictures.test

    @cached_property
    def trial(self) -> Trial:
        """Errors of held-out images at 32 levels."""
        levels, held = Levels.even(self.network, 32), first(self.pictures.held, HELD)
        sigmas, noise = torch.tensor(levels.sigmas), levels.noise(self.network, self.seed)
        return Trial(errors(self.network, clean(held), sigmas, noise, MEASURE), held.y, levels)

    def judged(self, counts: tuple[int, ...], noises: int) -> list[Row]:
        """A row a way of judging."""
        name = f"cost-{self.name}-{self.seed}"
        return [
            *kept(f"{name}-naive", lambda: _naive(self, counts)),
            *kept(f"{name}-staged", lambda: _staged(self)),
            *kept(f"{name}-races", lambda: _races(self)),
            *kept(f"{name}-noise", lambda: _noise(self, noises)),
        ]


def run(small: bool = False) -> dict[str, Any]:
    """Curves of both data sets; Fashion-MNIST is left out where its files are not."""
    if small:
        case = Case(digits(0, 0.25), digits_plan(0, 10), "digits-small", 0, 20)
        return _told("digits", [case.judged((1, 2), 4)])
    cases = [Case(digits(s, 0.25), digits_plan(s), f"digits-held-{s}", s, IMAGES) for s in SEEDS]
    found = _told("digits", [case.judged(COUNTS, NOISES) for case in cases])
    try:
        pictures = fashion()
    except Unavailable:
        return found
    case = Case(pictures, fashion_plan(0), "fashion-0", 0, IMAGES // 3)
    more = _told("fashion", [case.judged(COUNTS[:6], NOISES)])
    return {**found, **more, "plots": [*found["plots"], *more["plots"]]}


def _naive(case: Case, counts: tuple[int, ...]) -> list[Row]:
    """All classes at the first levels of an even order: one table of errors serves all."""
    test, k = case.test, len(case.network.classes)
    levels = Levels.even(case.network, max(counts))
    sigmas, noise = torch.tensor(levels.sigmas), levels.noise(case.network, case.seed)
    began = time.perf_counter()
    found = errors(case.network, clean(test), sigmas, noise, MEASURE)
    each = (time.perf_counter() - began) / (len(test) * k * max(counts))
    weights, rows = torch.tensor(levels.weights), []
    for n in counts:
        right = scores(found[:, :, :n], weights[:n]).argmax(1) == test.y
        rows.append(_row(f"all classes, {n} levels", case, right, k * n, each * k * n))
    return rows


def _staged(case: Case) -> list[Row]:
    """The paper's schedule for 10 classes, errors weighed as it weighs them."""
    levels = Levels.steps(case.network, 500)
    return [_timed("two stages, 50 and 500 levels", case, Staged(), levels)]


def _races(case: Case) -> list[Row]:
    """Learnt levels; a class stops once it has lost."""
    levels = case.trial.learned()
    known = case.trial.errors[:, :, levels.places(case.trial.levels)]
    return [
        _timed(f"race, error rate {rate}", case, Race.calibrated(known, levels, rate), levels)
        for rate in RATES
    ]


def _timed(name: str, case: Case, strategy: Strategy, levels: Levels) -> Row:
    began = time.perf_counter()
    verdict = strategy.judge(case.network, clean(case.test), levels, MEASURE, case.seed)
    seconds = (time.perf_counter() - began) / len(case.test)
    right = verdict.scores.argmax(1) == case.test.y
    return _row(name, case, right, float(verdict.calls.double().mean()), seconds)


def _row(name: str, case: Case, right: torch.Tensor, calls: float, seconds: float) -> Row:
    return {
        "seed": case.seed,
        "way": name,
        "accuracy": float(right.double().mean()),
        "images": len(right),
        "calls": float(calls),
        "seconds": seconds,
    }


def _noise(case: Case, noises: int) -> list[Row]:
    """One call a class: random noises, and one learnt from 8 images a class."""
    test, trial = first(case.test, TOLD), case.trial
    rows = torch.cat([torch.nonzero(trial.y == c).flatten()[:SHOTS] for c in range(10)])
    held = first(case.pictures.held, HELD)
    x, y = clean(held)[rows], held.y[rows]
    sigma = best_sigma(trial.errors[rows], y, torch.tensor(trial.levels.sigmas))
    measure, told = Measure("l1", 512, "bfloat16"), clean(test)
    random = single_noise_accuracy(case.network, (told, test.y), sigma, range(noises), measure)
    found = [_random(case, random, sigma)]
    still = torch.zeros(1, *case.network.shape)
    silent = errors(case.network, told, torch.tensor([sigma]), still, measure)[:, :, 0]
    right = silent.argmin(1) == test.y
    found.append({**_row("no noise, told its level", case, right, 10.0, 0.0), "sigma": sigma})
    ways = {
        "one optimised noise (data set)": Tuning(parts="dataset", seed=case.seed),
        "one optimised noise (offset)": Tuning(parts="offset", seed=case.seed),
        "one optimised noise (both)": Tuning(parts="both", seed=case.seed),
        "one optimised noise (both, the paper's settings)": replace(RELEASED, seed=case.seed),
    }
    for way, settings in ways.items():
        learnt = optimise(case.network, x, y, sigma, settings)
        began = time.perf_counter()
        verdict = learnt.judge(case.network, told, measure)
        seconds = (time.perf_counter() - began) / len(test)
        right = verdict.scores.argmax(1) == test.y
        found.append({**_row(way, case, right, 10.0, seconds), "sigma": sigma})
    return found


def _random(case: Case, random: torch.Tensor, sigma: float) -> Row:
    return {
        "seed": case.seed,
        "way": "one random noise",
        "accuracy": float(random.mean()),
        "95th percentile": float(random.quantile(0.95)),
        "noises": [float(a) for a in random],
        "calls": 10.0,
        "sigma": sigma,
    }


def _told(name: str, seeds: list[list[Row]]) -> dict[str, Any]:
    """Means over seeds, and the plots."""
    ways = [row["way"] for row in seeds[0]]
    table = []
    for i, way in enumerate(ways):
        rows = [seed[i] for seed in seeds]
        figures = [k for k, v in rows[0].items() if isinstance(v, float)]
        table.append({"way": way, **{k: spread([r[k] for r in rows]) for k in figures}})
    random = next(row for row in seeds[0] if "noises" in row)
    best = next(row for row in seeds[0] if row["way"] == "one optimised noise (data set)")
    plots = [_curve(name, table), _histogram(name, random, best)]
    kept = [{k: v for k, v in row.items() if k != "noises"} for seed in seeds for row in seed]
    return {name: {"means": table, "seeds": kept}, "plots": plots}


def _curve(name: str, table: list[Row]) -> dict[str, Any]:
    kinds = {"all classes": "all classes", "two stages": "two stages", "race": "race", "": ""}
    series: dict[str, list[list[float]]] = {}
    for row in table:
        kind = next(k for k in kinds if row["way"].startswith(k))
        point = [row["calls"]["mean"], row["accuracy"]["mean"]]
        series.setdefault(kinds[kind] or row["way"], []).append(point)
    return {
        "file": f"diffusion_cost-{name}.svg",
        "kind": "lines",
        "title": f"{name}: what a call buys",
        "x": "calls of the network an image",
        "y": "test accuracy, mean over seeds",
        "series": series,
        "log_x": True,
    }


def _histogram(name: str, random: Row, best: Row) -> dict[str, Any]:
    marks = {
        "mean": random["accuracy"],
        "95th percentile": random["95th percentile"],
        "optimised": best["accuracy"],
    }
    return {
        "file": f"diffusion_cost-{name}-noises.svg",
        "kind": "histogram",
        "title": f"{name}: one noise, {len(random['noises'])} random and one optimised",
        "x": "test accuracy",
        "y": "noises",
        "values": random["noises"],
        "marks": marks,
    }
