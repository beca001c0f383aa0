"""DRM on a held-out domain, against pooled training, other mixtures, and its best single head."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks import datasets
from benchmarks.changed_world.shifted_digits import (
    Scores,
    accuracy,
    make_angle_domains,
    make_rng,
    sample_rows,
)
from benchmarks.claims import Claim, make_table
from ilk.core.data import Data
from ilk.methods.drm import DRM
from ilk.methods.logistic_regression import LogisticRegression
from ilk.protocols import Step, leave_one_domain_out

N_AXES = 128
BASELINE, EQUAL_TRUST = "logistic regression", "DRM, all heads trusted equally"
Setting = tuple[Callable[[np.random.Generator], Data], tuple[int, ...], bool]


def tabulate_domains(tables: list[Any], _drops: Any, seeds: range, small: bool) -> None:
    """Add the tables of held-out domains."""
    sources: dict[str, Setting] = {"digits at three angles": (_rotate_digits, (0, 1, 2), False)}
    if not small:
        sources = {
            "PACS, one style held out": (lambda _: datasets.read_pacs(), (0, 1, 2, 3), False),
            "notMNIST at four angles": (_rotate_letters, (1, 3), False),
            "notMNIST at four angles, two images at 0 degrees": (_rotate_letters, (1, 3), True),
        }
    for name, (load, held_out, is_uneven) in sources.items():
        target_scores: Scores = defaultdict(list)
        source_scores: Scores = defaultdict(list)
        for seed in seeds:
            rng = make_rng(seed)
            steps = list(leave_one_domain_out(load(rng)))
            results = [
                _evaluate_domain(_keep_two(steps[d], rng) if is_uneven else steps[d], seed)
                for d in held_out
            ]
            for scores, side in ((target_scores, 0), (source_scores, 1)):
                for method in results[0][side]:
                    scores[method].append(float(np.mean([t[side][method] for t in results])))
        baselines = (EQUAL_TRUST, "pooled ERM", "mean of the heads", "random head", BASELINE)
        claims = [
            Claim("drm-domain-specific-risk", "methods/drm.py", "DRM", baseline)
            for baseline in baselines
        ]
        tables.append(make_table(name, "accuracy on the held-out domain", target_scores, claims))
        source_claims = [claim for claim in claims if claim.baseline == "pooled ERM"]
        tables.append(
            make_table(name, "accuracy on the source domains", source_scores, source_claims)
        )


def _keep_two(step: Step, rng: np.random.Generator) -> Step:
    """Return the step with two random training rows of domain 0 and all of the others."""
    is_first = step.train.domain == 0
    kept = rng.permutation(np.flatnonzero(is_first))[:2]
    rows = np.sort(np.append(kept, np.flatnonzero(~is_first)))
    return replace(step, train=step.train.take(rows))


def _rotate_digits(rng: np.random.Generator) -> Data:
    return make_angle_domains(
        sample_rows(datasets.read_digits(), 450, rng), (0.0, 20.0, 40.0), use_hog=False
    )


def _rotate_letters(rng: np.random.Generator) -> Data:
    return make_angle_domains(
        sample_rows(datasets.read_notmnist(), 1000, rng), (0.0, 25.0, 50.0, 75.0)
    )


def _evaluate_domain(step: Step, seed: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return the accuracy of each method on the held-out domain and on held-out source rows."""
    rng = make_rng(seed)
    order = rng.permutation(len(step.train))
    n_held_out = len(order) // 5
    train, held_out = step.train.take(order[n_held_out:]), step.train.take(order[:n_held_out])
    train, held_out, test = _project(train, (train, held_out, step.test))
    heads = DRM(seed=seed).fit(train)
    models = {
        "DRM": heads,
        "DRM(use_distance=True)": replace(heads, use_distance=True),
        "DRM(gamma=5.0)": replace(heads, gamma=5.0),
        EQUAL_TRUST: replace(heads, trust=None),
        "mean of the heads": replace(heads, gamma=0.0, trust=None),
        "pooled ERM": DRM(seed=seed).fit(replace(train, domain=np.zeros(len(train), np.int64))),
        BASELINE: LogisticRegression().fit(train),
    }
    target_scores, source_scores = (
        {n: accuracy(m, d) for n, m in models.items()} for d in (test, held_out)
    )
    for scores, data in ((target_scores, test), (source_scores, held_out)):
        is_correct = heads.compute_head_log_proba(data.x).argmax(2) == data.y
        scores["pooled head of DRM"] = float(is_correct[0].mean())
        pick = rng.integers(1, len(is_correct), len(data))
        scores["random head"] = float(is_correct[pick, np.arange(len(data))].mean())
        scores["best single head"] = float(is_correct[1:].mean(1).max())
    return target_scores, source_scores


def _project(train: Data, parts: tuple[Data, ...]) -> list[Data]:
    """Project both parts to the principal axes of the training rows if they have more features."""
    if train.x.shape[1] <= 4 * N_AXES:
        return list(parts)
    centre = train.x.mean(0)
    axes = np.linalg.svd(train.x - centre, full_matrices=False)[2][:N_AXES]
    return [replace(part, x=((part.x - centre) @ axes.T).astype(np.float32)) for part in parts]
