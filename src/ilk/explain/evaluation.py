"""The map of an explainer for a subject, and its score, computed once."""

from __future__ import annotations

from typing import Any

import numpy as np

from ilk.explain.contract import Map
from ilk.explain.fidelity import Fidelity, measure_fidelity
from ilk.explain.registry import describe_explainer
from ilk.explain.subject import Subject


def evaluate(explainer: Any, subject: Subject, seed: int = 0) -> tuple[Map, Fidelity]:
    """Return the map `[h, w]` and what was measured of it; raises what the explainer raises."""
    key = (describe_explainer(explainer), seed)
    if key not in subject.results:
        values = np.asarray(explainer.explain(subject, seed), np.float32)
        subject.results[key] = values, measure_fidelity(subject, values)
    values, fidelity = subject.results[key]
    return values, fidelity
