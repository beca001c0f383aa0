"""DRM where a domain is left out, beside pooled training, the mean of its heads, and an oracle."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np

from ilk.bench import _sets
from ilk.bench._family import Claim, table
from ilk.bench._worlds import Scores, accuracy, draw, drawn, many_angles
from ilk.data import Data
from ilk.methods.drm import DRM
from ilk.methods.logistic_regression import LogisticRegression
from ilk.protocols import Step, leave_one_domain_out

AXES = 128
HEAD = "logistic regression"


def domains(tables: list[Any], _drops: Any, seeds: range, small: bool) -> None:
    """Tables of domains left out."""
    worlds: dict[str, Any] = {"digits at three angles": _turned_digits}
    if not small:
        worlds = {"PACS, a style left out": lambda _: _sets.pacs(), "MNIST at four angles": _angled}
    for name, made in worlds.items():
        away: Scores = defaultdict(list)
        home: Scores = defaultdict(list)
        for seed in seeds:
            data = made(draw(seed))
            told = [_left_out(step, seed) for step in leave_one_domain_out(data)]
            for scores, side in ((away, 0), (home, 1)):
                for who in told[0][side]:
                    scores[who].append(float(np.mean([t[side][who] for t in told])))
        others = ("pooled ERM", "mean of the heads", "random head", HEAD)
        claims = [
            Claim("drm-domain-specific-risk", "methods/drm.py", "DRM", other) for other in others
        ]
        tables.append(table(name, "accuracy on the domain left out", away, claims))
        tables.append(table(name, "accuracy on the source domains", home, claims[:1]))


def _turned_digits(rng: np.random.Generator) -> Data:
    return many_angles(drawn(_sets.digits(), 450, rng), (0.0, 20.0, 40.0), features=False)


def _angled(rng: np.random.Generator) -> Data:
    return many_angles(drawn(_sets.mnist(), 1200, rng), (0.0, 25.0, 50.0, 75.0))


def _left_out(step: Step, seed: int) -> tuple[dict[str, float], dict[str, float]]:
    """Accuracy of each contender on the domain left out, and on source rows held out."""
    rng = draw(seed)
    order = rng.permutation(len(step.train))
    cut = len(order) // 5
    kept, held = step.train.rows(order[cut:]), step.train.rows(order[:cut])
    kept, held, test = _on_axes(kept, (kept, held, step.test))
    heads = DRM(seed=seed).fit(kept)
    models = {
        "DRM": heads,
        "DRM(distance=True)": replace(heads, distance=True),
        "DRM(gamma=5.0)": replace(heads, gamma=5.0),
        "mean of the heads": replace(heads, gamma=0.0),
        "pooled ERM": DRM(seed=seed).fit(replace(kept, domain=np.zeros(len(kept), np.int64))),
        HEAD: LogisticRegression().fit(kept),
    }
    away, home = ({n: accuracy(m, d) for n, m in models.items()} for d in (test, held))
    for scores, data in ((away, test), (home, held)):
        right = heads.heads(data.x).argmax(2) == data.y
        scores["pooled head of DRM"] = float(right[0].mean())
        pick = rng.integers(1, len(right), len(data))
        scores["random head"] = float(right[pick, np.arange(len(data))].mean())
        scores["oracle head"] = float(right[1:].mean(1).max())
    return away, home


def _on_axes(kept: Data, parts: tuple[Data, ...]) -> list[Data]:
    """Parts on the first principal axes of the training rows, where there are more features."""
    if kept.x.shape[1] <= 4 * AXES:
        return list(parts)
    centre = kept.x.mean(0)
    axes = np.linalg.svd(kept.x - centre, full_matrices=False)[2][:AXES]
    return [replace(part, x=((part.x - centre) @ axes.T).astype(np.float32)) for part in parts]
