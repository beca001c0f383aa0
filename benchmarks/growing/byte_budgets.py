"""Last accuracy of each method at each byte budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.claims import Claim, make_table
from benchmarks.growing.task_sets import (
    BASELINES,
    CLAIMS,
    KERNEL,
    STORED_KERNEL,
    Tasks,
    make_closed_form_methods,
    make_head_methods,
    make_replay_methods,
)
from benchmarks.runner import summarize
from ilk.methods.generative_kernel import GenerativeKernel
from ilk.protocols import Step
from ilk.training.continual import count_bytes, run_steps

BUDGETS = (26_000, 72_800)  # bytes: 2 and 20 digits per class


def tabulate_budgets(
    tasks: Tasks, seeds: Sequence[int], byte_budgets: Sequence[int]
) -> dict[str, Any]:
    """Tabulate last accuracy at each byte budget, and the area under it."""
    curves: dict[str, list[list[float]]] = {}
    for seed in seeds:
        for name, curve in _measure_curves(
            tasks, tasks.draw_steps(seed), seed, byte_budgets
        ).items():
            curves.setdefault(name, []).append(curve)
    tables = []
    for i, size in enumerate(byte_budgets):
        scores = {name: [curve[i] for curve in runs] for name, runs in curves.items()}
        scores = {name: values for name, values in scores.items() if not np.isnan(values).any()}
        setting = f"{tasks.setting}, {size:,} bytes"
        tables.append(make_table(setting, "last accuracy", scores, _select_claims(scores)))
    if len(byte_budgets) > 1:
        chance = 1 / tasks.train.k
        areas = {
            n: [_area_under_curve(c, byte_budgets, chance) for c in runs]
            for n, runs in curves.items()
        }
        metric = "area under last accuracy over log bytes"
        tables.append(make_table(tasks.setting, metric, areas, _select_claims(areas)))
    return {"curve tables": tables, "plots": _make_plots(curves, byte_budgets)}


def _select_claims(scores: Mapping[str, Sequence[float]]) -> list[Claim]:
    """Return the claims whose methods are all in the table."""
    return [c for c in CLAIMS if {c.method, c.baseline} <= set(scores)]


def _measure_curves(
    tasks: Tasks, steps: list[Step], seed: int, byte_budgets: Sequence[int]
) -> dict[str, list[float]]:
    k, d = tasks.train.k, tasks.train.x.shape[1]
    curves: dict[str, list[float]] = {}
    fixed_methods = {n: m for n, m in make_head_methods(0, seed).items() if n in BASELINES}
    fixed_methods |= {
        n: m
        for n, m in make_closed_form_methods(0, seed).items()
        if n in ("streaming GDA", "nearest class mean")
    }
    for name, method in fixed_methods.items():
        stage = run_steps(method, steps)[-1]
        curves[name] = [
            stage.accuracy if stage.memory_bytes <= size else np.nan for size in byte_budgets
        ]
        if name == "fine-tuning":
            head_bytes = stage.memory_bytes
    icarl_bytes = head_bytes + 4 * k * 64  # the exemplars' means
    base_bytes = count_bytes(GenerativeKernel(n_factors=0).fit(steps[0].train)) - 2 * 4 * k * d
    for size in byte_budgets:
        exemplar_bytes = {
            n: (size - (icarl_bytes if n == "iCaRL" else head_bytes))
            for n in make_replay_methods(0, 0)
        }
        rows = {n: max(0, free) // (4 * d + 8) for n, free in exemplar_bytes.items()}
        methods = {
            n: make_replay_methods(max(k, m) if n == "iCaRL" else m, seed)[n]
            for n, m in rows.items()
        }
        latents = (size - base_bytes) // (4 * k * d) - 2
        methods |= {
            n: m
            for n, m in make_closed_form_methods(latents, seed).items()
            if n in (KERNEL, STORED_KERNEL)
        }
        for name, method in methods.items():
            stage = run_steps(method, steps)[-1]
            curves.setdefault(name, []).append(
                stage.accuracy if stage.memory_bytes <= size else np.nan
            )
    return curves


def _area_under_curve(curve: Sequence[float], byte_budgets: Sequence[int], chance: float) -> float:
    """Return the mean height over the logarithm of bytes; missing values count as `chance`."""
    x = np.log(byte_budgets)
    return float(np.trapezoid(np.nan_to_num(curve, nan=chance), x) / (x[-1] - x[0]))


def _make_plots(
    curves: dict[str, list[list[float]]], byte_budgets: Sequence[int]
) -> list[dict[str, Any]]:
    if len(byte_budgets) < 2:
        return []
    series: dict[str, list[list[float]]] = {}
    for name, runs in curves.items():
        for size, values in zip(byte_budgets, np.transpose(runs), strict=True):
            if not np.isnan(values).any():
                mean, half = (v or 0.0 for v in summarize(list(values)).values())
                series.setdefault(name, []).append([size, mean, mean - half, mean + half])
    return [
        {
            "file": "growing-digits.svg",
            "kind": "lines",
            "title": "Digits in 5 tasks: accuracy by bytes of memory",
            "x": "bytes of memory",
            "y": "last accuracy",
            "log_x": True,
            "series": series,
        }
    ]
