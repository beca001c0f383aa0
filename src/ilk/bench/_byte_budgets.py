"""Last accuracy of each contender at each number of bytes, for `ilk.bench.growing`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ilk.bench import spread
from ilk.bench._arriving_sets import (
    CLAIMS,
    KEPT,
    MIXED,
    RIVALS,
    Tasks,
    closed,
    contenders,
    rehearsing,
)
from ilk.bench._family import Claim, table
from ilk.methods.generative_kernel import GenerativeKernel
from ilk.protocols import Step
from ilk.training.continual import charged, learn

BUDGETS = (26_000, 46_400, 72_800)  # bytes: 2, 10 and 20 rows of digits a class


def budgets(tasks: Tasks, seeds: int, allowed: Sequence[int]) -> dict[str, Any]:
    """Last accuracy of each contender at each number of bytes, and the area under it."""
    curves: dict[str, list[list[float]]] = {}
    for seed in range(seeds):
        for name, curve in _curves(tasks, tasks.steps(seed), seed, allowed).items():
            curves.setdefault(name, []).append(curve)
    told = []
    for i, size in enumerate(allowed):
        scores = {name: [curve[i] for curve in runs] for name, runs in curves.items()}
        scores = {name: values for name, values in scores.items() if not np.isnan(values).any()}
        where = f"{tasks.where}, {size:,} bytes"
        told.append(table(where, "last accuracy", scores, _settled(scores)))
    if len(allowed) > 1:
        chance = 1 / tasks.train.k
        areas = {n: [_area(c, allowed, chance) for c in runs] for n, runs in curves.items()}
        metric = "area under last accuracy over log bytes"
        told.append(table(tasks.where, metric, areas, _settled(areas)))
    return {"curve tables": told, "plots": _plots(curves, allowed)}


def _settled(scores: Mapping[str, Sequence[float]]) -> list[Claim]:
    """The claims between contenders that are all there."""
    return [c for c in CLAIMS if {c.method, c.against} <= set(scores)]


def _curves(
    tasks: Tasks, steps: list[Step], seed: int, allowed: Sequence[int]
) -> dict[str, list[float]]:
    k, d = tasks.train.k, tasks.train.x.shape[1]
    curves: dict[str, list[float]] = {}
    still = {n: m for n, m in contenders(0, seed).items() if n in RIVALS}
    still |= {n: m for n, m in closed(0, seed).items() if n in ("streaming GDA", "nearest mean")}
    for name, method in still.items():
        way = learn(method, steps)[-1]
        curves[name] = [way.accuracy if way.charged <= size else np.nan for size in allowed]
        if name == "fine-tuning":
            head = way.charged
    head_of_icarl = head + 4 * k * 64  # the exemplars' means
    bare = charged(GenerativeKernel(latents=0).fit(steps[0].train)) - 2 * 4 * k * d
    for size in allowed:
        held = {n: (size - (head_of_icarl if n == "iCaRL" else head)) for n in rehearsing(0, 0)}
        rows = {n: max(0, free) // (4 * d + 8) for n, free in held.items()}
        made = {n: rehearsing(max(k, m) if n == "iCaRL" else m, seed)[n] for n, m in rows.items()}
        latents = (size - bare) // (4 * k * d) - 2
        made |= {n: m for n, m in closed(latents, seed).items() if n in (MIXED, KEPT)}
        for name, method in made.items():
            way = learn(method, steps)[-1]
            curves.setdefault(name, []).append(way.accuracy if way.charged <= size else np.nan)
    return curves


def _area(curve: Sequence[float], allowed: Sequence[int], chance: float) -> float:
    """Mean height over the logarithm of bytes; `chance` where there is no figure."""
    x = np.log(allowed)
    return float(np.trapezoid(np.nan_to_num(curve, nan=chance), x) / (x[-1] - x[0]))


def _plots(curves: dict[str, list[list[float]]], allowed: Sequence[int]) -> list[dict[str, Any]]:
    if len(allowed) < 2:
        return []
    series: dict[str, list[list[float]]] = {}
    for name, runs in curves.items():
        for size, values in zip(allowed, np.transpose(runs), strict=True):
            if not np.isnan(values).any():
                mean, half = (v or 0.0 for v in spread(list(values)).values())
                series.setdefault(name, []).append([size, mean, mean - half, mean + half])
    return [
        {
            "file": "growing-digits.svg",
            "kind": "lines",
            "title": "Digits in 5 tasks: what each byte kept is worth",
            "x": "bytes kept",
            "y": "last accuracy",
            "log_x": True,
            "series": series,
        }
    ]
